from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.passes.prune.knapsack import CELLS, knapsack
from edgekit.passes.prune.loss import SquaredError
from edgekit.passes.prune.options import Options, Slot, State
from edgekit.passes.prune.search import Prices, search
from edgekit.passes.prune.selection import Selection


def blocks(*choices: int, branches: int) -> Options:
    """A group with so many choices in each block; the first ``branches`` blocks can be dropped as a whole."""
    groups = [Slot(f"group{index}", tuple(range(count, 0, -1))) for index, count in enumerate(choices)]
    slots = (*groups, *(Slot(f"branch{index}", (0,), branch=True) for index in range(branches)))
    inside = np.zeros((len(slots), len(slots)), np.bool_)
    parents = [-1] * len(slots)
    for index in range(branches):
        inside[len(groups) + index, index] = True
        parents[index] = len(groups) + index
    return Options(slots, inside | inside.T, tuple(parents))


def states(options: Options) -> Iterator[State]:
    for chosen in product(*(range(len(slot.kept) + 1) for slot in options.slots)):
        state = np.array(chosen, np.intp)
        if not any(state[options.conflicts[slot]].any() for slot in np.flatnonzero(state)):
            yield state


def cost_by(options: Options, saved: np.ndarray) -> object:
    """100 less what each option saves."""

    def cost(selection: Selection) -> float:
        state = options.state(selection)
        return 100 - sum(saved[options.indices[int(slot), int(state[slot])]] for slot in np.flatnonzero(state))

    return cost


def savings(options: Options, rng: np.random.Generator) -> np.ndarray:
    """More for choices that keep less, most for a branch."""
    scale = rng.uniform(1, 10, len(options.slots))
    return np.array([20.0 if options.slots[slot].branch else scale[slot] * choice for slot, choice in options.choices])


@given(st.integers(0, 10**6), st.integers(0, 3), st.floats(1, 60))
@settings(max_examples=15, deadline=None)
def test_the_dynamic_program_is_optimal_when_losses_add_up(seed: int, branches: int, wanted: float) -> None:
    rng = np.random.default_rng(seed)
    options = blocks(2, 3, 2, branches=branches)
    saved = savings(options, rng)
    # On the grid nothing is lost by rounding.
    saved = np.floor(saved / wanted * CELLS) * wanted / CELLS * (1 + 1e-12)
    losses = rng.exponential(size=len(options.choices))

    def of(state: State) -> tuple[float, float]:
        chosen = [options.indices[int(slot), int(state[slot])] for slot in np.flatnonzero(state)]
        return float(losses[chosen].sum()), float(saved[chosen].sum())

    enough = [loss for loss, saving in map(of, states(options)) if saving >= wanted]
    loss, saving = of(knapsack(options, losses, saved, wanted))
    if enough:
        assert saving >= wanted * (1 - 1e-9)
        assert loss == pytest.approx(min(enough))


@given(st.integers(0, 10**6), st.integers(0, 3), st.floats(5, 70))
@settings(max_examples=15, deadline=None)
def test_what_is_found_meets_the_budget_and_no_exchange_of_two_betters_it(
    seed: int, branches: int, wanted: float
) -> None:
    rng = np.random.default_rng(seed)
    options = blocks(2, 3, 2, branches=branches)
    cost = cost_by(options, savings(options, rng))
    reference = rng.normal(size=(8, 4))
    # Neighbours' changes are alike: losses do not add up.
    changes = (rng.normal(size=(8, 4)) + rng.normal(size=(len(options.choices), 8, 4))).astype(np.float32)
    prices = Prices(SquaredError(reference, [4]), np.zeros_like(reference), changes)

    def loss(state: State) -> float:
        chosen = [options.indices[int(slot), int(state[slot])] for slot in np.flatnonzero(state)]
        return float(prices.comparison.losses(changes[chosen].sum(axis=0, keepdims=True))[0])

    within = [state for state in states(options) if cost(options.selection(state)) <= 100 - wanted]
    found = search(options, prices, cost, 100 - wanted)
    if not within:
        assert found is None
        return
    assert found is not None and any(np.array_equal(found.state, state) for state in within)
    assert found.loss == pytest.approx(loss(found.state), rel=1e-4)
    near = [loss(state) for state in within if (state != found.state).sum() == 1]
    assert min(near, default=np.inf) >= found.loss * (1 - 1e-4) - 1e-4


def test_two_changes_that_cancel_are_taken_together() -> None:
    options = blocks(1, 1, 1, branches=0)
    push = np.ones((4, 2), np.float32)
    changes = np.stack([push, -push, 0.8 * push])
    prices = Prices(SquaredError(np.eye(4, 2), [2]), np.zeros((4, 2)), changes)
    found = search(options, prices, cost_by(options, np.array([10.0, 10.0, 20.0])), 80)
    assert found is not None and found.state.tolist() == [1, 1, 0]
    assert found.loss == pytest.approx(0, abs=1e-9)


def test_a_budget_that_is_met_already_removes_nothing() -> None:
    options = blocks(2, 2, branches=1)
    changes = np.ones((len(options.choices), 3, 2), np.float32)
    prices = Prices(SquaredError(np.eye(3, 2), [2]), np.zeros((3, 2)), changes)
    found = search(options, prices, lambda selection: 1.0, 1.0)
    assert found is not None and not found.state.any()


def test_dropping_a_branch_restores_what_is_inside_and_the_other_way_round() -> None:
    options = blocks(2, 2, branches=1)
    inside, branch = 0, 2
    state = options.chosen(options.chosen(options.nothing(), inside, 2), 1, 1)
    dropped = options.chosen(state, branch, 1)
    assert options.selection(dropped) == Selection({"group1": 2}, frozenset({"branch0"}))
    assert options.selection(options.chosen(dropped, inside, 1)) == Selection({"group0": 2, "group1": 2})


def test_the_smallest_has_a_branch_dropped_and_the_rest_at_its_least() -> None:
    options = blocks(2, 2, branches=1)
    saved = savings(options, np.random.default_rng(0))
    cost = cost_by(options, saved)
    least = options.smallest(cost)
    assert cost(options.selection(least)) == min(cost(options.selection(state)) for state in states(options))
    assert options.selection(least) == Selection({"group1": 1}, frozenset({"branch0"}))


def test_never_are_both_terms_of_a_sum_dropped() -> None:
    """Not even where each alone saves too little, and both together would cost least."""
    slots = (Slot("left", (0,), branch=True), Slot("right", (0,), branch=True), Slot("group", (1,)))
    rivals = np.zeros((3, 3), np.bool_)
    rivals[0, 1] = rivals[1, 0] = True
    options = Options(slots, rivals, (-1, -1, -1))
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(8, 4))
    changes = np.stack([np.full((8, 4), 0.01), np.full((8, 4), 0.02), np.full((8, 4), 3.0)])
    prices = Prices(SquaredError(reference, [4]), np.zeros_like(reference), changes)
    found = search(options, prices, cost_by(options, np.array([30.0, 30.0, 30.0])), 45.0)
    assert found is not None
    assert found.state.tolist() in ([1, 0, 1], [0, 1, 1])
