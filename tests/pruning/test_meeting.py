"""Budgets with costs and measures that are made up."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import GateError
from edgekit.passes.prune.selection import Selection
from edgekit.pruning.goals import Goal, Reading
from edgekit.pruning.meeting import ATTEMPTS, lower_aim, meet

WHOLE = 1000.0
SMALLEST = Selection({"g": 100})


@dataclass
class FakePruned:
    selection: Selection
    model: float


@dataclass
class FakePruner:
    """One group of 1000 units, each worth 1; the pruner keeps as many as the budget lets it."""

    asked: list[float] = field(default_factory=list)

    def prune(self, budget):
        self.asked.append(budget.limit)
        kept = next((k for k in range(1000, 99, -1) if budget.cost({"g": k}, frozenset()) <= budget.limit), None)
        if kept is None:
            raise GateError(f"{budget.flag}: not with 100 units")
        return FakePruned(Selection({"g": kept}), kept)


def goal(limit: float, measure=None, flag: str = "--max-bytes 1", weight: float = 1.0) -> Goal:
    def cost(kept, dropped):
        return weight * kept.get("g", 1000)

    def read(trial):
        return Reading(measure(trial), "x86-64/toy.onnx")

    return Goal(flag, "bytes", limit, weight * WHOLE, cost, measure and read)


def run(pruner, goals):
    return meet(pruner, goals, lambda model: [model], lambda cost: SMALLEST)


def test_an_exact_cost_is_met_at_once():
    pruner = FakePruner()
    assert run(pruner, [goal(700)]).selection.kept == {"g": 700}
    assert pruner.asked == [700]


def test_what_the_model_missed_is_aimed_lower():
    pruner = FakePruner()
    # Half of what was foretold to be saved is.
    half = goal(800, lambda trial: WHOLE - (WHOLE - trial[0]) / 2)
    pruned = run(pruner, [half])
    assert pruned.selection.kept == {"g": 600}
    assert pruner.asked == [800, 600]


def test_what_is_met_by_measure_is_not_pruned_further():
    pruner = FakePruner()
    assert run(pruner, [goal(800, lambda trial: trial[0] - 50)]).selection.kept == {"g": 800}


def test_what_is_met_with_room_to_spare_is_aimed_higher():
    pruner = FakePruner()
    # Half as much again is saved as was foretold: 600 would do, and 500 units are kept for it at first.
    spare = goal(500, lambda trial: WHOLE - 1.5 * (WHOLE - trial[0]))
    kept = run(pruner, [spare]).selection.kept["g"]
    assert kept == 667 - 1 or kept == 667
    assert pruner.asked[0] == 500 < pruner.asked[1]


def test_an_aim_that_was_too_high_leaves_what_met_the_goal():
    pruner = FakePruner()
    # The first measure is by chance half of the truth.
    seen = iter([0.5, 1.2, 1.2, 1.2])
    fickle = goal(500, lambda trial: next(seen) * trial[0])
    assert run(pruner, [fickle]).selection.kept == {"g": 500}
    assert len(pruner.asked) == 2


def test_the_last_attempt_is_all_that_can_be_removed():
    pruner = FakePruner()
    little = goal(900, lambda trial: WHOLE - (WHOLE - trial[0]) / 8)
    assert run(pruner, [little]).selection.kept == {"g": 200}
    assert min(pruner.asked) >= 100


def test_what_cannot_be_met_by_measure_says_what_was_reached():
    with pytest.raises(GateError, match=r"--max-bytes 1: 950 bytes \(x86-64/toy\.onnx\) were reached") as caught:
        run(FakePruner(), [goal(800, lambda trial: 950.0)])
    assert caught.value.exit_code == 5


def test_the_attempts_end():
    pruner = FakePruner()
    with pytest.raises(GateError, match="were reached"):
        run(pruner, [goal(500, lambda trial: trial[0] + 401)])
    assert len(pruner.asked) <= ATTEMPTS


def test_what_the_model_itself_cannot_meet_is_the_pruners_to_tell():
    with pytest.raises(GateError, match="--max-bytes 1: not with 100 units"):
        run(FakePruner(), [goal(50)])


@given(st.integers(100, 999), st.integers(100, 999), st.floats(0.01, 100))
def test_of_two_budgets_the_stricter_counts(one, other, weight):
    goals = [goal(one), goal(weight * other, flag="--prune 0.5", weight=weight)]
    kept = run(FakePruner(), goals).selection.kept["g"]
    assert abs(kept - min(one, other)) <= 1


def test_of_two_budgets_the_one_that_cannot_be_met_is_named():
    with pytest.raises(GateError, match=r"^--prune 0\.99: not with"):
        run(FakePruner(), [goal(900), goal(10, flag="--prune 0.99")])


def test_each_can_be_met_but_not_both():
    def against(kept, dropped):
        return 2000.0 - kept.get("g", 1000)

    goals = [goal(500), Goal("--max-latency 1", "ms", 1200, 1000, against)]
    with pytest.raises(GateError, match=r"--max-bytes 1 --max-latency 1: each can be met, but not all at once"):
        run(FakePruner(), goals)


@given(st.floats(1, 999), st.floats(1, 1000), st.floats(1, 1000))
def test_the_next_aim_is_always_lower(limit, foretold, measured):
    if measured > limit:
        assert lower_aim(goal(limit), limit, foretold, measured) < limit


def test_each_goal_is_clamped_by_what_costs_it_least():
    """A slow branch with few multiply-accumulates: what has the fewest of those is not the fastest."""
    asked = []

    class Pruner:
        def prune(self, budget):
            asked.append(budget.limit)
            return FakePruned(Selection({"g": 300}), 300)

    # Half of what was foretold to be saved is, so that more than there is would be asked for.
    costly = goal(500, lambda trial: WHOLE - (WHOLE - trial[0]) / 2)
    least = {costly.flag: Selection({"g": 250})}
    with pytest.raises(GateError, match="were reached"):
        meet(
            Pruner(),
            [costly],
            lambda model: [model],
            lambda cost: least[costly.flag] if cost is costly.cost else SMALLEST,
        )
    assert asked == [500.0, 250.0, 250.0, 250.0]


@dataclass
class Network:
    """One of a few networks: what it is foretold to cost, what it does cost, and what is lost by it."""

    foretold: tuple[int, int]
    measured: tuple[int, int]
    loss: int


@dataclass
class ChoosingPruner:
    """Knows a few networks; the first is whole."""

    networks: list[Network]
    asked: list[bool] = field(default_factory=list)

    def prune(self, budget):
        able = [n for n in range(len(self.networks)) if budget.cost({"g": n}, frozenset()) <= budget.limit]
        self.asked.append(bool(able))
        if not able:
            raise GateError("no such network")
        best = min(able, key=lambda n: self.networks[n].loss)
        return FakePruned(Selection({"g": best}), best)

    def smallest(self, cost):
        return Selection({"g": min(range(len(self.networks)), key=lambda n: cost({"g": n}, frozenset()))})

    def goal(self, index: int, limit: float, *, exact: bool = False) -> Goal:
        def cost(kept, dropped):
            return self.networks[kept["g"]].foretold[index]

        def measure(trial):
            return Reading(self.networks[trial[0]].measured[index], "x86-64/toy.onnx")

        return Goal(("--one", "--other")[index], "bytes", limit, 100, cost, None if exact else measure)

    def meet(self, *goals: Goal):
        return meet(self, goals, lambda model: [model], self.smallest).model


WHOLE_NETWORK = Network((100, 100), (100, 100), 0)


def test_two_budgets_are_not_lowered_to_what_no_network_has():
    """Each has a least of its own, and no network has both."""
    networks = [
        WHOLE_NETWORK,
        Network((40, 40), (80, 80), 1),
        Network((25, 25), (45, 45), 2),
        Network((20, 60), (36, 90), 1),
        Network((60, 20), (90, 36), 1),
    ]
    pruner = ChoosingPruner(networks)
    assert pruner.meet(pruner.goal(0, 50), pruner.goal(1, 50)) == 2
    assert pruner.asked == [True, True]


def test_what_cannot_be_lowered_further_leaves_room_to_the_other_budget():
    networks = [
        WHOLE_NETWORK,
        Network((40, 40), (80, 80), 1),
        Network((5, 44), (10, 80), 3),
        Network((25, 25), (45, 45), 4),
    ]
    pruner = ChoosingPruner(networks)
    assert pruner.meet(pruner.goal(0, 50), pruner.goal(1, 50)) == 3


def test_an_exact_budget_is_not_traded_for_a_measured_one():
    networks = [
        WHOLE_NETWORK,
        Network((50, 60), (50, 90), 1),
        Network((50, 50), (50, 70), 2),
        Network((51, 1), (51, 2), 3),
    ]
    pruner = ChoosingPruner(networks)
    with pytest.raises(GateError, match="--other: 70 bytes"):
        pruner.meet(pruner.goal(0, 50, exact=True), pruner.goal(1, 60))


def test_budgets_that_are_met_one_at_a_time_are_said_to_be():
    networks = [WHOLE_NETWORK, Network((50, 50), (10, 90), 1), Network((45, 45), (90, 10), 2)]
    pruner = ChoosingPruner(networks)
    with pytest.raises(GateError, match=r"--one: 10 bytes .*--other: 10 bytes .*; but not all at once; allow more"):
        pruner.meet(pruner.goal(0, 50), pruner.goal(1, 50))


COSTS = st.tuples(st.integers(1, 99), st.integers(1, 99))


@given(st.lists(st.builds(Network, COSTS, COSTS, st.integers(1, 9)), min_size=1, max_size=6), COSTS, st.booleans())
def test_some_network_is_foretold_to_meet_whatever_is_asked_for_after_the_first(networks, limits, exact):
    pruner = ChoosingPruner([WHOLE_NETWORK, *networks])
    goals = [pruner.goal(0, limits[0], exact=exact), pruner.goal(1, limits[1])]
    try:
        found = pruner.networks[pruner.meet(*goals)]
    except GateError:
        # The first budgets may be beyond every network; what is asked for later never is.
        assert all(pruner.asked) or not pruner.asked[0]
        return
    assert all(pruner.asked)
    assert (found.foretold if exact else found.measured)[0] <= limits[0] and found.measured[1] <= limits[1]
