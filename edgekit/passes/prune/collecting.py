"""Run the pruned and the float network side by side and sum up what the layers of one meet and should give."""

from collections.abc import Iterable, Sequence

import onnx_ir as ir

from edgekit.passes.prune.moments import InputMoments
from edgekit.passes.prune.network import Sample, Weights


def collect(
    model: ir.Model, weights: Weights, nodes: Sequence[str], samples: Iterable[Sample], *, targets: bool = False
) -> dict[str, InputMoments]:
    """The moments of the inputs of ``nodes`` in ``model`` with ``weights``, by node name.

    Args:
        model: the float network; its own weights are the reference.
        weights: of the network measured now: the pruned prefix. Missing ones are the model's own.
        nodes: names of nodes that ``supports_moments`` accepts. They may follow each other: all are measured as the
            weights are now.
        samples: iterated once (twice at the same time with ``targets``).
        targets: also sum a tᵀ, where t is what the float network gives at the node, bias included; for a node that is
            the last of two terms of an Add it is the float Add minus the other term of the network measured.
    """
    raise NotImplementedError
