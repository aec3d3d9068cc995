"""Make a full-size network with removed units physically small, and prove that it still computes the same."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import EdgekitError
from edgekit.graph.queries import is_floating, shape_of
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.prune.branches import drop_branches
from edgekit.passes.prune.build import Built, Network
from edgekit.passes.prune.network import Sample, activations, with_weights
from edgekit.passes.prune.removal import remove

_TOLERANCE = 1e-3
"""Of the outputs' root mean square: float32 sums in another order, through a whole network."""

_MORE_SAMPLES = 3
"""So many random ones are tried where numbers on the first one are not finite."""


def shrink(network: Network, built: Built, dropped: Collection[str], sample: Sample | None) -> ir.Model:
    """The canonical model without the removed units and the dropped branches.

    Runs both networks on ``sample`` (None: on random numbers), and on random numbers where outputs are not finite on
    it. Raises EdgekitError when they differ, or when outputs are no longer finite, which is a bug.
    """
    full = with_weights(network.model, built.weights)
    shorter = drop_branches(full, [branch for branch in network.branches if branch.name in dropped])
    small = canonicalize(remove(shorter, network.channels, built.removed))
    samples = [*([] if sample is None else [sample]), *(_random(full, seed) for seed in range(_MORE_SAMPLES))]
    _require_equal(network.model, full, small, samples)
    return small


def _require_equal(whole: ir.Model, full: ir.Model, small: ir.Model, samples: Sequence[Sample]) -> None:
    """The numbers of ``small`` are those of ``full`` wherever these are finite, and they are where ``whole``'s are.

    Of outputs in float: another rounding may tip what was decided by them.
    """
    left = [value.name or "" for value in full.graph.outputs if is_floating(value)]
    for sample in samples:
        wanted, found = (_outputs(model, left, sample) for model in (full, small))
        for name, one, other in zip(left, wanted, found, strict=True):
            _require_close(name, one, other)
        before = _outputs(whole, left, sample) if any(not _is_finite(array) for array in wanted) else wanted
        for name, one, other in zip(left, before, found, strict=True):
            _require_finite(name, one, other)
        left = [name for name, array in zip(left, wanted, strict=True) if not _is_finite(array)]
        if not left:
            return


def _require_close(name: str, wanted: NDArray[Any], found: NDArray[Any]) -> None:
    if wanted.shape != found.shape:
        raise EdgekitError(
            f"output {name!r}: the smaller network gives the shape {list(found.shape)}, the one with zeros "
            f"{list(wanted.shape)}; please report this model"
        )
    finite = np.isfinite(wanted)
    if not np.issubdtype(wanted.dtype, np.floating) or not finite.any():
        return
    exact = wanted[finite].astype(np.float64)
    scale = float(np.sqrt(np.square(exact).mean()))
    error = float(np.sqrt(np.square(found[finite] - exact).mean()))
    if not error <= _TOLERANCE * scale + 1e-6:
        raise EdgekitError(
            f"output {name!r}: the smaller network gives something else than the one with zeros "
            f"(root mean square error {error:.3g} of {scale:.3g}); please report this model"
        )


def _require_finite(name: str, before: NDArray[Any], after: NDArray[Any]) -> None:
    if np.any(np.isfinite(before) & ~np.isfinite(after)):
        raise EdgekitError(
            f"output {name!r}: the smaller network gives numbers that are not finite where the whole one's are; "
            "please report this model"
        )


def _outputs(model: ir.Model, names: Sequence[str], sample: Sample) -> list[NDArray[Any]]:
    (arrays,) = activations(model, names, [sample])
    return arrays


def _is_finite(array: NDArray[Any]) -> bool:
    return bool(np.isfinite(array).all())


def _random(model: ir.Model, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    values = [(value, rng.standard_normal(shape_of(value))) for value in model.graph.inputs]
    return {
        value.name or "": array.astype(value.dtype.numpy())
        if value.dtype is not None and value.dtype.is_floating_point()
        else (array > 0).astype(value.dtype.numpy() if value.dtype else np.float32)
        for value, array in values
    }
