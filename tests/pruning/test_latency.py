"""The model of the latency, of a graph whose artifacts are timed by a made-up clock."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import GateError
from edgekit.graph.cost import count_macs
from edgekit.importers import import_model
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.prune import find_channel_groups
from edgekit.passes.prune.branches import find_branches
from edgekit.passes.prune.cost import CostModel
from edgekit.progress import Silent
from edgekit.pruning.latency import (
    Curve,
    LatencyMeter,
    LatencyModel,
    Parts,
    latency_goal,
    measure_latency,
    plan_latency,
)
from edgekit.pruning.timing import Paired


@dataclass(frozen=True)
class Timed:
    """An artifact as far as the clock looks at it."""

    staged_path: Path
    ms: float

    @property
    def path(self) -> str:
        return f"x86-64/{self.staged_path.name}"


@dataclass
class Clock:
    """Two artifacts: one whose time is its multiply-accumulates, and one that is slower, and never gets faster."""

    pairs: list[tuple[float, float]] = field(default_factory=list)

    def pair(self, before, after, pace, advance) -> Paired:
        self.pairs.append((before.ms, after.ms))
        advance(1)
        return Paired(before.ms, after.ms, after.ms / before.ms, None)


@dataclass
class Drafts:
    """Stands for QuickBuilder."""

    folder: Path

    def build(self, graph, path_of):
        return artifacts(self.folder, graph)


def artifacts(folder: Path, graph) -> list[Timed]:
    (folder / "a").write_bytes(b"a")
    (folder / "b").write_bytes(b"b")
    return [Timed(folder / "a", count_macs(graph) / 1e5), Timed(folder / "b", 1.0), Timed(folder / "a", np.nan)]


@pytest.fixture(scope="module")
def parts(classifier) -> Parts:
    graph = canonicalize(import_model(classifier).model)
    groups = find_channel_groups(graph)
    branches = find_branches(graph, groups)
    return Parts(graph, groups, branches, CostModel(graph, groups, branches), 8)


@pytest.fixture
def measured(parts, tmp_path):
    clock = Clock()
    meter = LatencyMeter(artifacts(tmp_path, parts.graph), Drafts(tmp_path), lambda name: tmp_path / name)
    return clock, meter, measure_latency(meter.base_ms(clock, Silent()), parts, meter, clock, Silent())


def test_the_slowest_artifact_counts_and_equal_files_are_timed_once(parts, measured):
    clock, _, model = measured
    assert model.base_ms == pytest.approx([2.8928, 1.0, 2.8928])
    assert model.cost({}, frozenset()) == pytest.approx(2.8928)
    assert not any(np.isnan(ms) for pair in clock.pairs for ms in pair)


def test_each_group_and_branch_is_foretold_as_it_was_timed(parts, measured):
    _, _, model = measured
    for group in parts.groups.groups:
        for kept in range(8, group.channels, 8):
            expected = parts.costs.macs({group.name: kept}) / 1e5
            assert model.cost({group.name: kept}, frozenset()) == pytest.approx(max(1.0, expected), rel=1e-6)
    for branch in parts.branches:
        expected = parts.costs.macs({}, [branch.name]) / 1e5
        assert model.cost({}, frozenset([branch.name])) == pytest.approx(expected)


def test_what_never_gets_faster_is_the_least(parts, measured):
    _, _, model = measured
    smallest = parts.smallest(model.cost)
    assert model.cost(smallest.kept, smallest.dropped) == pytest.approx(1.0)


def test_the_goal_keeps_a_margin_of_the_limit(parts, measured, tmp_path):
    clock, meter, model = measured
    goal = latency_goal(2.0, model, meter, clock)
    assert goal.measure is not None
    assert not goal.is_met and goal.before == pytest.approx(2.8928)
    assert goal.cost({}, frozenset()) > goal.before
    assert goal.measure(artifacts(tmp_path, parts.graph)) == (goal.cost({}, frozenset()), "x86-64/a")
    assert goal.foretell({}, frozenset()).path == "x86-64/a"
    assert latency_goal(3.0, model, meter, clock).is_met


def test_only_what_must_be_known_is_timed(parts, measured, tmp_path):
    clock, meter, model = measured
    clock.pairs.clear()
    goal = plan_latency(3.0, parts, meter, clock, Silent())
    assert goal.is_met and len(clock.pairs) == 2  # the unpruned artifacts
    least = parts.smallest(parts.costs.macs)
    assert goal.cost(least.kept, least.dropped) == goal.cost({}, frozenset())  # beside another budget it is met, too
    clock.pairs.clear()
    with pytest.raises(GateError, match=r"^--max-latency 0.5: the smallest network .* takes 1.02 ms \(x86-64/b\)"):
        plan_latency(0.5, parts, meter, clock, Silent())
    assert len(clock.pairs) == 4  # and the smallest network's
    for limit in (0.9, 2.0):  # nearly, and easily
        found = plan_latency(limit, parts, meter, clock, Silent())
        assert found.cost({}, frozenset()) == latency_goal(limit, model, meter, clock).cost({}, frozenset())


def test_groups_inside_a_dropped_branch_save_nothing_more():
    curve = Curve((0, 8, 16), np.array([[1.0], [0.5], [0.0]]))
    model = LatencyModel(np.array([4.0]), {"g": curve}, {"b": np.array([0.25])}, {"b": frozenset({"g"})})
    assert model.cost({"g": 8}, frozenset()) == 2.0
    assert model.cost({"g": 8}, frozenset({"b"})) == 3.0
    assert model.cost({"g": 12}, frozenset()) == 3.0
