"""What a network would cost with fewer channels, without building it."""

from collections.abc import Collection, Mapping

import onnx_ir as ir

from edgekit.passes.prune.branches import Branch
from edgekit.passes.prune.groups import ChannelGroups


class CostModel:
    """Exact MACs, parameters and weight bytes of any selection; microseconds each.

    ``kept``: units kept by group name; groups that are missing keep all. ``dropped``: names of branches. A group that
    lives inside a dropped branch costs nothing whatever is kept of it.
    """

    def __init__(self, model: ir.Model, groups: ChannelGroups, branches: Collection[Branch]) -> None:
        raise NotImplementedError

    def macs(self, kept: Mapping[str, int], dropped: Collection[str] = ()) -> int:
        """Multiply-accumulates, as edgekit.graph.cost counts them."""
        raise NotImplementedError

    def parameters(self, kept: Mapping[str, int], dropped: Collection[str] = ()) -> int:
        """Elements of the constants that are weights, as edgekit.graph.cost counts them."""
        raise NotImplementedError
