"""What the consumers of each group read."""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from edgekit.passes.prune.groups.channels import ChannelGroup, WeightUse
from edgekit.passes.prune.importance.evidence import Evidence, Place, UnitSums


@dataclass(frozen=True, slots=True)
class Source:
    """``use`` is one of ``group``'s consumers, ``place`` the value that its weight multiplies, and the axis there."""

    group: ChannelGroup
    use: WeightUse
    place: Place

    @property
    def weight(self) -> Place:
        """The weight, and the group's axis there."""
        return self.use.weight, self.use.axis


def sources(evidence: Evidence, sums: UnitSums) -> Iterator[Source]:
    """Those of all consumers of all groups."""
    nodes = {node.name: node for node in evidence.model.graph}
    for group in evidence.channels.groups:
        for use in group.consumers:
            for value in nodes[use.node].inputs:
                axes = [] if value is None or value.is_initializer() else _axes(value, group, sums)
                yield from (Source(group, use, place) for place in axes[:1])


def _axes(value: ir.Value, group: ChannelGroup, sums: UnitSums) -> list[Place]:
    rank = 0 if value.shape is None else len(value.shape)
    places = [(value.name or "", axis) for axis in range(rank)]
    return [place for place in places if group in sums.groups_at(place)]
