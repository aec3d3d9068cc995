"""What a user may set of pruning, checked and typed once for the command line and the Python API."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, TypedDict

from edgekit.errors import UsageError, nearest
from edgekit.passes.prune.scheme import ImportanceName

DEFAULT_MINUTES = 20.0

_BUDGETS = {"prune": "--prune RATIO", "max_latency": "--max-latency MS", "max_bytes": "--max-bytes SIZE"}
_OF_PRUNING = ("importance", "strict", "recover")
_OF_RECOVERY = ("recover_minutes", "quantization_aware", "temperature")

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)
_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}


class PruningKeywords(TypedDict, total=False):
    """The keyword arguments of :func:`edgekit.export` that remove channels; each is the flag of the same name.

    prune: share of the multiply-accumulates to remove, in (0, 1).
    max_latency: milliseconds that the median inference of every artifact may take on this machine.
    max_bytes: size that every artifact may have: a number of bytes, or a text such as ``"1.5MB"`` or ``"800KiB"``.
    importance: ``"obs"``, ``"activation"``, ``"taylor"``, ``"l1"``, ``"l2"``, ``"bn-scale"`` or ``"random"``, instead
        of the profile's.
    strict: refuse to go on without data where the importance needs some.
    recover: train the pruned network to give what the source gives, on the calibration samples.
    recover_minutes: how long it may take, 20 by default.
    quantization_aware: train with the rounding of static int8 in place.
    temperature: softens the class scores that are compared in training.
    """

    prune: float | None
    max_latency: float | None
    max_bytes: int | str | None
    importance: str | None
    strict: bool
    recover: bool
    recover_minutes: float | None
    quantization_aware: bool
    temperature: float | None


@dataclass(frozen=True, slots=True)
class RecoverySettings:
    """How the pruned network is trained; ``temperature`` None is what recovery does by default."""

    minutes: float = DEFAULT_MINUTES
    quantization_aware: bool = False
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class PruningSettings:
    """The checked settings; see :class:`PruningKeywords`. At least one budget is there, and all must be met."""

    ratio: float | None = None
    max_latency_ms: float | None = None
    max_bytes: int | None = None
    importance: ImportanceName | None = None
    strict: bool = False
    recovery: RecoverySettings | None = None

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> Self | None:
        """Check ``keywords``; None when nothing is to be pruned. Raises UsageError."""
        values = {key: keywords.get(key) for key in PruningKeywords.__annotations__}
        given = {key for key, value in values.items() if value is not None and value is not False}
        _require_a_use(given)
        if not given:
            return None
        return cls(
            ratio=_ratio(keywords.get("prune")),
            max_latency_ms=_above_zero("max-latency", "milliseconds", keywords.get("max_latency")),
            max_bytes=_size(keywords.get("max_bytes")),
            importance=_importance(keywords.get("importance")),
            strict=bool(keywords.get("strict")),
            recovery=_recovery(keywords) if keywords.get("recover") else None,
        )

    @property
    def flags(self) -> str:
        """The budgets as they are typed: ``--prune 0.25 --max-bytes 800000``."""
        budgets = {"--prune": self.ratio, "--max-latency": self.max_latency_ms, "--max-bytes": self.max_bytes}
        return " ".join(f"{flag} {value:.15g}" for flag, value in budgets.items() if value is not None)

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


def parse_size(text: int | str) -> int:
    """Bytes of ``1500000``, ``"1.5MB"`` (10^6), ``"800KB"`` (10^3) or ``"1MiB"`` (2^20). Raises UsageError."""
    match = None if isinstance(text, bool) else _SIZE.fullmatch(str(text))
    if match is None or match[2].lower() not in _UNITS:
        raise UsageError(f"--max-bytes {text}: expected a size such as 1500000, 1.5MB, 800KB or 1MiB")
    size = float(match[1]) * _UNITS[match[2].lower()]
    if not 1 <= size < 2**63:
        raise UsageError(f"--max-bytes {text}: expected at least one byte, and a size that a file can have")
    return int(size)


def _require_a_use(given: set[str]) -> None:
    """Flags that mean nothing without others are mistakes."""
    useless = [key for key in _OF_RECOVERY if key in given and "recover" not in given]
    if useless:
        raise UsageError(f"{_flag(useless[0])}: nothing is trained; expected --recover with it")
    useless = [key for key in _OF_PRUNING if key in given and not given & set(_BUDGETS)]
    if useless:
        *others, last = _BUDGETS.values()
        raise UsageError(f"{_flag(useless[0])}: nothing is pruned; expected {', '.join(others)} or {last} with it")


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _ratio(value: Any) -> float | None:
    if value is not None and not (_is_number(value) and 0 < value < 1):
        raise UsageError(
            f"--prune {_typed(value)}: expected the share of the multiply-accumulates to remove, "
            "more than 0 and less than 1"
        )
    return None if value is None else float(value)


def _above_zero(flag: str, unit: str, value: Any) -> float | None:
    if value is not None and not (_is_number(value) and value > 0):
        raise UsageError(f"--{flag} {_typed(value)}: expected {unit}, more than 0")
    return None if value is None else float(value)


def _typed(value: Any) -> str:
    """As the user typed it: the command line makes 0.0 of ``0``."""
    return f"{value:.15g}" if _is_number(value) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _size(value: int | str | None) -> int | None:
    return None if value is None else parse_size(value)


def _importance(value: str | None) -> ImportanceName | None:
    if value is None:
        return None
    try:
        return ImportanceName(value)
    except ValueError:
        known = [str(member) for member in ImportanceName]
        expected = f"expected one of {', '.join(known)}{nearest(str(value), known)}"
        raise UsageError(f"--importance {value}: {expected}") from None


def _recovery(keywords: Mapping[str, Any]) -> RecoverySettings:
    return RecoverySettings(
        minutes=_above_zero("recover-minutes", "minutes", keywords.get("recover_minutes")) or DEFAULT_MINUTES,
        quantization_aware=bool(keywords.get("quantization_aware")),
        temperature=_above_zero("temperature", "a number", keywords.get("temperature")),
    )
