"""Closed-form re-fits: a layer's weights and bias so that it gives what the float network's layer gives."""

from collections.abc import Iterable

import onnx_ir as ir

from edgekit.passes.prune.network import Sample, Weights


def refit(
    model: ir.Model, weights: Weights, samples: Iterable[Sample], *, start: str | None = None, damping: float = 1e-3
) -> dict[str, object]:
    """Re-fit every layer after ``start`` in order; see the module's docstring."""
    raise NotImplementedError
