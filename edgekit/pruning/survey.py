"""What could be pruned of a graph, and what could not, and why: for ``edgekit inspect --channels``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import onnx_ir as ir

from edgekit.passes.prune import find_channel_groups
from edgekit.passes.prune.branches import find_branches
from edgekit.passes.prune.constants import separate_constants
from edgekit.passes.prune.cost import CostModel
from edgekit.passes.prune.groups import WeightUse, WholeChannels
from edgekit.passes.prune.options import find_options


@dataclass(frozen=True, slots=True)
class SurveyedGroup:
    """Channels that go together. ``macs_share``: of the graph's multiply-accumulates, what all of them take part in.

    ``producers`` and ``consumers`` are names of nodes.
    """

    name: str
    channels: int
    units: int
    macs_share: float
    producers: tuple[str, ...]
    consumers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SurveyedBranch:
    """A term of the Add node ``add`` that can be left out."""

    name: str
    add: str
    macs_share: float


@dataclass(frozen=True, slots=True)
class ChannelSurvey:
    """``most_share``: the largest share of the multiply-accumulates that can be removed.

    ``channel_multiple``: channels go in multiples of it.
    """

    groups: tuple[SurveyedGroup, ...]
    branches: tuple[SurveyedBranch, ...]
    whole: tuple[WholeChannels, ...]
    most_share: float
    channel_multiple: int

    def whole_by_reason(self) -> Mapping[str, Sequence[WholeChannels]]:
        """What is left whole, by why."""
        found: dict[str, list[WholeChannels]] = {}
        for entry in self.whole:
            found.setdefault(entry.reason, []).append(entry)
        return found

    def to_json(self) -> dict[str, Any]:
        """As ``edgekit inspect --channels --json`` prints it."""
        return asdict(self)


def survey_channels(graph: ir.Model, channel_multiple: int) -> ChannelSurvey:
    """Survey a canonical graph."""
    graph = separate_constants(graph)
    found = find_channel_groups(graph)
    branches = find_branches(graph, found)
    costs = CostModel(graph, found, branches)
    everything = costs.macs({}) or 1
    groups = tuple(
        SurveyedGroup(
            group.name,
            group.channels,
            len(group.units),
            1 - costs.macs({group.name: 0}) / everything,
            _nodes(group.producers),
            _nodes(group.consumers),
        )
        for group in found.groups
    )
    options = find_options(found, branches, channel_multiple)
    smallest = options.selection(options.smallest(lambda each: costs.macs(each.kept, each.dropped)))
    return ChannelSurvey(
        groups,
        tuple(
            SurveyedBranch(branch.name, branch.add, 1 - costs.macs({}, [branch.name]) / everything)
            for branch in branches
        ),
        found.whole,
        1 - costs.macs(smallest.kept, smallest.dropped) / everything,
        channel_multiple,
    )


def _nodes(uses: Sequence[WeightUse]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(use.node for use in uses))
