"""Spend a budget where it costs least: a dynamic program over single losses, then local search on combined ones.

The loss of a combination is not the sum of its parts' losses: neighbours stand in for each other. So each option is
kept as the change it makes to the output rows of every sample; changes of a combination are added, and the loss is
taken of the sum. The dynamic program (optimal if losses did add up) and a greedy walk give two starts; from the better
one, single and double exchanges go on until none lowers the loss.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgekit.passes.prune.knapsack import knapsack
from edgekit.passes.prune.loss import Comparison, Rows
from edgekit.passes.prune.options import Options, State
from edgekit.passes.prune.selection import Selection

_CHUNK_BYTES = 64 * 2**20
_PAIRS = 64
"""So many double exchanges, the best by the loss's slopes and curvatures, are priced exactly in each step."""
_MOST_STEPS = 200
_LEAST_GAIN = 1e-6
"""Share of the loss (and nats) below which an exchange is not worth a step."""
_COST_SLACK = 5e-3
"""What two moves save adds up only nearly, so the true cost of a pair decides; pairs farther away are not looked at."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What is known of the options: ``whole`` is the change of rows [samples, width] when all is whole (zeros when
    measured on the float network), ``changes`` [options, samples, width] what each single option adds to it."""

    comparison: Comparison
    whole: Rows
    changes: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Found:
    """A state within the budget, and what the sum of changes says it loses."""

    state: State
    loss: float


@dataclass(frozen=True, slots=True)
class _Move:
    """Another state, and by how many times each option's change comes in."""

    slot: int
    state: State
    signs: NDArray[np.float32]
    cost: float


@dataclass
class _Search:
    options: Options
    prices: Prices
    cost: Callable[[Selection], float]
    limit: float
    _costs: dict[bytes, float] = field(default_factory=dict)

    def cost_of(self, state: State) -> float:
        key = state.tobytes()
        if key not in self._costs:
            self._costs[key] = self.cost(self.options.selection(state))
        return self._costs[key]

    def signs(self, state: State) -> NDArray[np.float32]:
        """[options]: 1 where an option is chosen."""
        found = np.zeros(len(self.options.choices), np.float32)
        for slot in np.flatnonzero(state):
            found[self.options.indices[int(slot), int(state[slot])]] = 1
        return found

    def change(self, state: State) -> Rows:
        """The rows' change in ``state``."""
        return self.prices.whole + np.tensordot(self.signs(state), self.prices.changes, 1)

    def loss(self, state: State) -> float:
        return float(self.prices.comparison.losses(self.change(state)[None])[0])

    def losses(self, state: State, signs: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        """The loss of ``state`` with each of the combinations of options added, exactly."""
        base = self.change(state)
        step = max(1, _CHUNK_BYTES // max(1, base.nbytes))
        parts = (self._added(base, signs[start : start + step]) for start in range(0, len(signs), step))
        return np.concatenate([np.zeros(0), *(self.prices.comparison.losses(part) for part in parts)])

    def _added(self, base: Rows, signs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        changes = np.empty((len(signs), *base.shape), np.float32)
        for change, sign in zip(changes, signs, strict=True):
            change[...] = base
            for option in np.flatnonzero(sign):
                change += sign[option] * self.prices.changes[option]
        return changes

    def moves(self, state: State) -> Iterator[_Move]:
        """All states that differ by one decision (and what conflicts with it)."""
        before = self.signs(state)
        for slot, each in enumerate(self.options.slots):
            for choice in range(len(each.kept) + 1):
                if choice != state[slot]:
                    changed = self.options.chosen(state, slot, choice)
                    yield _Move(slot, changed, self.signs(changed) - before, self.cost_of(changed))

    def greedy(self, state: State) -> State | None:
        """Within the budget by the steps that cost least for what is still missing; None when nothing helps."""
        loss = self.loss(state)
        while (cost := self.cost_of(state)) > self.limit:
            moves = [move for move in self.moves(state) if move.cost < cost]
            if not moves:
                return None
            losses = self.losses(state, [move.signs for move in moves])
            saved = np.array([min(cost - move.cost, cost - self.limit) for move in moves])
            best = int(np.argmin((losses - loss) / saved))
            state, loss = moves[best].state, float(losses[best])
        return state

    def improved(self, state: State) -> State:
        """``state`` after single and double exchanges within the budget, each the best of its step."""
        loss = self.loss(state)
        for _ in range(_MOST_STEPS):
            moves = list(self.moves(state))
            pairs = self._best_pairs(state, moves)
            singles = [move for move in moves if move.cost <= self.limit]
            states = [move.state for move in singles] + [both for both, _ in pairs]
            losses = self.losses(state, [move.signs for move in singles] + [signs for _, signs in pairs])
            if not len(losses) or losses.min() > loss - _LEAST_GAIN * max(1.0, loss):
                break
            best = int(np.argmin(losses))
            state, loss = states[best], float(losses[best])
        return state

    def _best_pairs(self, state: State, moves: Sequence[_Move]) -> list[tuple[State, NDArray[np.float32]]]:
        """The most promising double exchanges: one that gives back what another then has to save."""
        expected = self._expected(state, moves)
        slots = np.array([move.slot for move in moves], np.intp)
        changed = np.array([move.state != state for move in moves], np.int32)
        apart = ~self.options.conflicts[slots[:, None], slots] & (changed @ changed.T == 0)
        costs = np.array([move.cost for move in moves])
        near = costs[:, None] + costs - self.cost_of(state) <= self.limit * (1 + _COST_SLACK)
        candidates = np.argwhere(np.triu(apart & near & (expected < 0), 1))
        order = np.argsort(expected[tuple(candidates.T)], kind="stable")
        found: list[tuple[State, NDArray[np.float32]]] = []
        for first, second in candidates[order]:
            both = np.where(changed[second] > 0, moves[second].state, moves[first].state)
            if self.cost_of(both) <= self.limit:
                found.append((both, moves[first].signs + moves[second].signs))
            if len(found) == _PAIRS:
                break
        return found

    def _expected(self, state: State, moves: Sequence[_Move]) -> NDArray[np.float64]:
        """[moves, moves]: by how much two moves together change the loss, to second order."""
        slope, curvature = self.prices.comparison.expand(self.change(state), self.prices.changes)
        signs = np.array([move.signs for move in moves], np.float64).reshape(len(moves), -1)
        bent = signs @ curvature @ signs.T
        alone = signs @ slope + np.diagonal(bent) / 2
        return np.asarray(alone[:, None] + alone[None, :] + bent)


def search(options: Options, prices: Prices, cost: Callable[[Selection], float], limit: float) -> Found | None:
    """The state with the least loss that costs at most ``limit``; None when these options cannot meet it."""
    work = _Search(options, prices, cost, limit)
    nothing = options.nothing()
    if work.cost_of(nothing) <= limit:
        return Found(nothing, work.loss(nothing))
    starts = [work.greedy(start) for start in (_additive(work), nothing)]
    found = [start for start in starts if start is not None]
    if not found:
        smallest = options.smallest(work.cost)
        if work.cost_of(smallest) > limit:
            return None
        found = [smallest]
    state = work.improved(min(found, key=work.loss))
    return Found(state, work.loss(state))


def _additive(work: _Search) -> State:
    """The optimum if losses and savings added up: the dynamic program's, which may drop both terms of one sum."""
    options, nothing = work.options, work.options.nothing()
    alone = work.losses(nothing, list(np.eye(len(options.choices), dtype=np.float32))) - work.loss(nothing)
    full = work.cost_of(nothing)
    saved = np.array([full - work.cost_of(options.chosen(nothing, *each)) for each in options.choices])
    found = knapsack(options, alone, saved, full - work.limit)
    state = nothing
    for slot in np.flatnonzero(found).tolist():
        state = options.chosen(state, slot, int(found[slot]))
    return state
