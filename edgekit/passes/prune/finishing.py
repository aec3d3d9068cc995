"""Make a full-size network with removed units physically small, and prove that it still computes the same."""

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from edgekit.errors import EdgekitError
from edgekit.graph.queries import shape_of
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.prune.branches import drop_branches
from edgekit.passes.prune.build import Built, Network
from edgekit.passes.prune.network import Sample, activations, with_weights
from edgekit.passes.prune.removal import remove

_TOLERANCE = 1e-3
"""Of the outputs' root mean square: float32 sums in another order, through a whole network."""


def shrink(network: Network, built: Built, dropped: Collection[str], sample: Sample | None) -> ir.Model:
    """The canonical model without the removed units and the dropped branches.

    Runs both networks on ``sample`` (None: on random numbers); EdgekitError when they differ, which is a bug.
    """
    full = with_weights(network.model, built.weights)
    shorter = drop_branches(full, [branch for branch in network.branches if branch.name in dropped])
    small = canonicalize(remove(shorter, network.channels, built.removed))
    _require_equal(full, small, _random(network.model) if sample is None else sample)
    return small


def _require_equal(full: ir.Model, small: ir.Model, sample: Sample) -> None:
    names = [value.name or "" for value in full.graph.outputs]
    (before,), (after,) = (list(activations(model, names, [sample])) for model in (full, small))
    for name, wanted, found in zip(names, before, after, strict=True):
        if not np.issubdtype(wanted.dtype, np.floating) or not np.isfinite(wanted).all():
            continue
        exact = wanted.astype(np.float64)
        scale = float(np.sqrt(np.square(exact).mean()))
        error = float(np.sqrt(np.square(found - exact).mean()))
        if wanted.shape != found.shape or not error <= _TOLERANCE * scale + 1e-6:
            raise EdgekitError(
                f"output {name!r}: the smaller network gives something else than the one with zeros "
                f"(root mean square error {error:.3g} of {scale:.3g}); please report this model"
            )


def _random(model: ir.Model) -> Sample:
    rng = np.random.default_rng(0)
    values = [(value, rng.standard_normal(shape_of(value))) for value in model.graph.inputs]
    return {
        value.name or "": array.astype(value.dtype.numpy())
        if value.dtype is not None and value.dtype.is_floating_point()
        else (array > 0).astype(value.dtype.numpy() if value.dtype else np.float32)
        for value, array in values
    }
