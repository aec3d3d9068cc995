"""Names of inputs and outputs that must be unique in an ONNX graph."""

from collections.abc import Sequence


def unique(names: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """``names`` with ``_1``, ``_2``, … after those that occurred before or are ``taken``."""
    seen = set(taken)
    result = []
    for name in names:
        candidate, count = name, 0
        while candidate in seen:
            count += 1
            candidate = f"{name}_{count}"
        seen.add(candidate)
        result.append(candidate)
    return result
