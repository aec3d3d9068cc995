"""From a graph to its channel groups."""

import onnx_ir as ir

from edgekit.passes.prune.groups.channels import ChannelGroups


def find_channel_groups(model: ir.Model) -> ChannelGroups:
    """The channel groups of a graph with static shapes; the model stays as it is."""
    raise NotImplementedError
