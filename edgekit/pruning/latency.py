"""The latency of a network with fewer channels, foretold from measurements: each group at some widths, each branch.

Every group is made narrower by itself, and every branch dropped by itself, and the artifact is timed in turn with the
unpruned one. What each saves is added up: layers run one after the other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.artifacts import StagedArtifact
from edgekit.building import PathOf, QuickBuilder
from edgekit.errors import GateError
from edgekit.passes.prune.branches import Branch, drop_branches
from edgekit.passes.prune.cost import CostModel
from edgekit.passes.prune.groups import ChannelGroup, ChannelGroups
from edgekit.passes.prune.options import find_options, kept_units
from edgekit.passes.prune.removal import remove
from edgekit.passes.prune.selection import Selection
from edgekit.progress import Progress
from edgekit.pruning.goals import Cost, Goal, Reading
from edgekit.pruning.timing import CAREFUL, SWIFT, Paired, Stopwatch

_WIDTHS = (0.75, 0.5, 0.25)
_LEAST_SHARE = 0.005
"""Of the multiply-accumulates: what is less cannot be told from noise, and is taken to save its share of the time."""

_MARGIN = 0.98
"""Of the limit is aimed at, so that the artifacts meet it when they are timed again."""

_FAR = 1.25
"""Times the limit: a slower network is not made faster by measuring again."""

Savings = NDArray[np.float64]
"""[artifacts]: shares of the unpruned artifact's latency."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What may be taken out of a graph: its groups and branches, and what is left at least (``channel_multiple``)."""

    graph: ir.Model
    groups: ChannelGroups
    branches: Sequence[Branch]
    costs: CostModel
    channel_multiple: int

    def smallest(self, cost: Cost) -> Selection:
        """What costs least of all that can be removed."""
        options = find_options(self.groups, self.branches, self.channel_multiple)
        return options.selection(options.smallest(lambda each: cost(each.kept, each.dropped)))


@dataclass(frozen=True, slots=True)
class Curve:
    """What a group's width saves: ``kept`` units, ascending, and ``saved`` [widths, artifacts or 1] shares."""

    kept: tuple[int, ...]
    saved: NDArray[np.float64]

    def at(self, kept: int) -> Savings:
        """Between what was measured, on the straight line."""
        return np.array([np.interp(kept, self.kept, column) for column in self.saved.T])


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """``base_ms`` [artifacts] of the unpruned network, and what groups and ``branches`` save of it.

    ``inside``: the groups that go with a branch. What was not timed saves nothing.
    """

    base_ms: Savings
    groups: Mapping[str, Curve]
    branches: Mapping[str, Savings]
    inside: Mapping[str, frozenset[str]]

    def cost(self, kept: Mapping[str, int], dropped: frozenset[str]) -> float:
        """Milliseconds of the slowest artifact."""
        return float(self.each_ms(kept, dropped).max())

    def each_ms(self, kept: Mapping[str, int], dropped: frozenset[str]) -> Savings:
        """Milliseconds of each artifact."""
        gone = {group for branch in dropped for group in self.inside.get(branch, ())}
        saved = np.zeros(len(self.base_ms))
        for branch in sorted(self.branches.keys() & dropped):
            saved = saved + self.branches[branch]
        for name, units in kept.items():
            if name in self.groups and name not in gone:
                saved = saved + self.groups[name].at(units)
        return self.base_ms * (1 - saved)


class LatencyMeter:
    """Times artifacts beside the unpruned ones; equal files once."""

    def __init__(self, unpruned: Sequence[StagedArtifact], quick: QuickBuilder, path_of: PathOf) -> None:
        self._unpruned = unpruned
        self._quick = quick
        self._path_of = path_of
        contents = [artifact.staged_path.read_bytes() for artifact in unpruned]
        self._first = [contents.index(content) for content in contents]

    def path(self, index: int) -> str:
        """Of an artifact, as users know it."""
        return self._unpruned[index].path

    def base_ms(self, stopwatch: Stopwatch, progress: Progress) -> Savings:
        """Milliseconds of each unpruned artifact."""
        distinct = sorted(set(self._first))
        with progress.stage("timing the unpruned artifacts", CAREFUL.sessions * len(distinct)) as advance:
            found = {
                index: stopwatch.pair(self._unpruned[index], self._unpruned[index], CAREFUL, advance).before_ms
                for index in distinct
            }
        return np.array([found[index] for index in self._first])

    def pairs(self, artifacts: Sequence[StagedArtifact], stopwatch: Stopwatch) -> list[Paired]:
        """Each of ``artifacts`` timed in turn with the unpruned one."""
        found = {
            index: stopwatch.pair(self._unpruned[index], artifacts[index], SWIFT, _ignore)
            for index in sorted(set(self._first))
        }
        return [found[index] for index in self._first]

    def build(self, graph: ir.Model) -> Sequence[StagedArtifact]:
        """Quick artifacts of ``graph``."""
        return self._quick.build(graph, self._path_of)

    def saved(self, graph: ir.Model, stopwatch: Stopwatch) -> Savings:
        """What each artifact of ``graph`` saves, a share of the unpruned one's time."""
        return np.array([1 - pair.ratio for pair in self.pairs(self.build(graph), stopwatch)])


def plan_latency(limit_ms: float, parts: Parts, meter: LatencyMeter, stopwatch: Stopwatch, progress: Progress) -> Goal:
    """``--max-latency``, after the unpruned and the smallest network were timed: one may do, the other may not.

    Raises GateError when even the smallest is far too slow, or when an artifact crashes.
    """
    base_ms = meter.base_ms(stopwatch, progress)
    goal = latency_goal(limit_ms, LatencyModel(base_ms, {}, {}, {}), meter, stopwatch)
    if goal.is_met:
        return goal
    with progress.stage("timing the smallest network"):
        require_reachable(goal, parts, meter)
    return latency_goal(limit_ms, measure_latency(base_ms, parts, meter, stopwatch, progress), meter, stopwatch)


def measure_latency(
    base_ms: Savings, parts: Parts, meter: LatencyMeter, stopwatch: Stopwatch, progress: Progress
) -> LatencyModel:
    """Time every group at some widths, and the graph without each branch. Raises GateError when an artifact crashes."""
    widths = {group.name: _widths(group, parts) for group in parts.groups.groups}
    total = sum(map(len, widths.values())) + len(parts.branches)
    with progress.stage("timing narrower networks", total) as advance:

        def saved(graph: ir.Model) -> Savings:
            shares = meter.saved(graph, stopwatch)
            advance(1)
            return shares

        curves = {group.name: _curve(group, widths[group.name], parts, saved) for group in parts.groups.groups}
        branches = {branch.name: saved(drop_branches(parts.graph, [branch])) for branch in parts.branches}
    return LatencyModel(base_ms, curves, branches, {branch.name: branch.groups for branch in parts.branches})


def latency_goal(limit_ms: float, model: LatencyModel, meter: LatencyMeter, stopwatch: Stopwatch) -> Goal:
    """``--max-latency``: the median of every artifact is at most that, of which a little is kept as a margin."""

    def measure(artifacts: Sequence[StagedArtifact]) -> Reading:
        # What disturbs only adds time: of two times of the unpruned artifact the shorter one counts.
        pairs = meter.pairs(artifacts, stopwatch)
        bases = np.minimum(model.base_ms, [pair.before_ms for pair in pairs])
        each = bases * [pair.ratio for pair in pairs] / _MARGIN
        return Reading(float(each.max()), meter.path(int(each.argmax())))

    def cost(kept: Mapping[str, int], dropped: frozenset[str]) -> float:
        return model.cost(kept, dropped) / _MARGIN

    def binding(kept: Mapping[str, int], dropped: frozenset[str]) -> str:
        return meter.path(int(model.each_ms(kept, dropped).argmax()))

    flag = f"--max-latency {np.format_float_positional(limit_ms, trim='-')}"
    return Goal(flag, "ms", limit_ms, float(model.base_ms.max()), cost, measure, binding)


def require_reachable(goal: Goal, parts: Parts, meter: LatencyMeter) -> None:
    """Time the network of the fewest multiply-accumulates. Raises GateError when even that is far too slow."""
    assert goal.measure is not None
    reading = goal.measure(meter.build(_narrower(parts, parts.smallest(parts.costs.macs))))
    if reading.value > _FAR * goal.limit:
        raise GateError(
            f"{goal.flag}: the smallest network that pruning can make takes {goal.spell_reading(reading)}; "
            "allow more, or choose a smaller model or precision"
        )


def _curve(group: ChannelGroup, widths: Sequence[int], parts: Parts, saved: Callable[[ir.Model], Savings]) -> "Curve":
    """Measured at ``widths``, ascending; nothing measured: its share of the multiply-accumulates."""
    everything = len(group.units)
    if not widths:
        share = 1 - parts.costs.macs({group.name: 0}) / parts.costs.macs({})
        return Curve((0, everything), np.array([[share], [0.0]]))
    points = [saved(_narrower(parts, Selection({group.name: kept}))) for kept in widths]
    kept = (*widths, everything)
    rows = np.stack([*points, np.zeros_like(points[0])])
    # Below the narrowest, as between it and the next.
    slope = (rows[0] - rows[1]) / (kept[1] - kept[0])
    return Curve((0, *kept), np.stack([rows[0] + slope * kept[0], *rows]))


def _widths(group: ChannelGroup, parts: Parts) -> tuple[int, ...]:
    """Which of the numbers of units that may stay are timed, ascending; none of a group that hardly counts."""
    choices = kept_units(parts.groups, group, parts.channel_multiple)
    if not choices or 1 - parts.costs.macs({group.name: choices[-1]}) / parts.costs.macs({}) < _LEAST_SHARE:
        return ()
    wanted = [share * len(group.units) for share in _WIDTHS]
    return tuple(sorted({min(choices, key=lambda kept: abs(kept - width)) for width in wanted}))


def _narrower(parts: Parts, selection: Selection) -> ir.Model:
    """The graph with the first units of each group; which ones does not change the time."""
    removed = np.zeros(parts.groups.unit_count, np.bool_)
    for group in parts.groups.groups:
        removed[list(group.units[selection.kept.get(group.name, len(group.units)) :])] = True
    left = drop_branches(parts.graph, [branch for branch in parts.branches if branch.name in selection.dropped])
    return remove(left, parts.groups, removed)


def _ignore(_: int) -> None:
    return None
