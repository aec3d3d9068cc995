"""From measured changes to prices: what is worth measuring, on how many samples, and prices around a state found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from edgekit.passes.prune.build import Built, Network, whole
from edgekit.passes.prune.cost import CostModel
from edgekit.passes.prune.loss import Comparison, Rows
from edgekit.passes.prune.options import Options, State, is_stream
from edgekit.passes.prune.search import Prices
from edgekit.passes.prune.sensitivity import Change, Key, Meter, Wanted
from edgekit.progress import Progress

DEAREST = 1.5
"""Loss per unit share of the network's multiply-accumulates (or parameters) above which an option is never chosen."""

MOST_TESTS = 128
"""Samples that judge; of a larger network's many options fewer."""
LEAST_TESTS = 32
MOST_MACS = 2e13
"""Multiply-accumulates that all options together may take: some minutes on two cores."""
_MOST_BYTES = 512 * 2**20
_TABLES = 2
"""Changes in memory together: those around the float network, and those around a state of it."""
_FEW = frozenset({1, 2, 4, 6})
"""Choices left of a slot where all would take too long: 7/8, 3/4, 1/2 and 1/4."""
_NEAREST = 4
_FIRST = 3
"""Around a state: so many choices beside a group's own, and so many of a group that is whole."""

Choices = Mapping[int, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Table:
    """Measured options: ``options`` has these alone, in the order of ``prices``."""

    options: Options
    prices: Prices


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured on how many samples; ``note`` says what had to be left out."""

    tests: int
    choices: Choices
    note: str | None


def plan(network: Network, options: Options, macs: Callable[[int], int], width: int) -> Plan:
    """All options on MOST_TESTS samples, or what of that can be done within MOST_MACS and in memory.

    First fewer samples judge, then residual streams stay whole, then there are fewer choices for each group. ``macs``
    of one choice of a slot for one sample; ``width`` of a row.
    """
    choices = {slot: list(range(1, len(each.kept) + 1)) for slot, each in enumerate(options.slots)}
    work = {slot: macs(slot) for slot in choices}

    def total() -> int:
        return sum(len(each) * work[slot] for slot, each in choices.items())

    rows = _MOST_BYTES // max(1, _TABLES * 4 * width * len(options.choices))
    tests = int(np.clip(min(MOST_MACS / max(1, total()), rows), LEAST_TESTS, MOST_TESTS))
    note = None
    if total() * tests > MOST_MACS:
        streams = {group.name for group in network.channels.groups if is_stream(group)}
        choices |= {slot: [] for slot in choices if _is_one_of(options, slot, streams)}
        note = "residual streams were left whole: measuring them takes too long on this network"
    if total() * tests > MOST_MACS:
        choices |= {slot: [choice for choice in each if choice in _FEW] for slot, each in choices.items()}
    return Plan(tests, choices, note)


def _is_one_of(options: Options, slot: int, names: set[str]) -> bool:
    return not options.slots[slot].branch and options.slots[slot].name in names


@dataclass
class Pricer:
    """Prices of options, around the float network (measured once) or around a state of it."""

    meter: Meter
    costs: CostModel
    plan: Plan
    progress: Progress
    _changes: dict[Key, Change] = field(default_factory=dict)
    _given_up: bool = True
    _rest: dict[Key, Change] = field(default_factory=dict)

    @cached_property
    def reference(self) -> Rows:
        """The float network's rows, of all test samples."""
        nothing = whole(self.meter.network)
        return self.meter.rows([nothing for _ in self.meter.folds])

    @cached_property
    def comparison(self) -> Comparison:
        """With the float network."""
        return self.meter.loss.against(self.reference)

    def table(self) -> Table:
        """Around the float network; options that cost too much are left out."""
        if not self._changes:
            self._measure(self.plan.choices, self._limit)
        return self._table(self._changes, np.zeros_like(self.reference), self._limit)

    def full_table(self) -> Table:
        """With all options, however dear: for budgets that the others cannot meet."""
        if self._given_up:
            missing = {
                slot: [choice for choice in choices if (slot, choice) not in self._changes]
                for slot, choices in self.plan.choices.items()
            }
            self._measure(missing, _no_limit)
            self._given_up = False
        return self._table(self._changes, np.zeros_like(self.reference), _no_limit)

    def whole_table(self) -> Table | None:
        """With the slots that the plan leaves whole, too; None when there are none, or measuring them takes too long.

        When all their choices would, the last one of each has to do.
        """
        slots = {slot: len(self.meter.options.slots[slot].kept) for slot in self.left_whole}
        for choices in (
            {slot: range(1, count + 1) for slot, count in slots.items()},
            {s: [n] for s, n in slots.items()},
        ):
            work = sum(len(each) * self.meter.macs(slot) for slot, each in choices.items()) * len(self.reference)
            if not self._rest and 0 < work <= MOST_MACS:
                nothing = whole(self.meter.network)
                built = [nothing for _ in self.meter.folds]
                self._rest = self._run(built, self.reference, Wanted(choices, _no_limit))
        self.full_table()
        changes = {**self._changes, **self._rest}
        return self._table(changes, np.zeros_like(self.reference), _no_limit) if self._rest else None

    @cached_property
    def left_whole(self) -> list[int]:
        """Slots of which the plan measures no choice."""
        slots = self.meter.options.slots
        return [slot for slot, choices in self.plan.choices.items() if slots[slot].kept and not choices]

    def alone(self, key: Key) -> float | None:
        """What one option adds to the float network's loss; None when it was not measured."""
        change = self._changes.get(key, self._rest.get(key))
        return None if change is None else float(self.comparison.losses(change[None])[0])

    def table_around(self, state: State, built: Sequence[Built], rows: Rows) -> Table:
        """Around ``state``, whose networks (one for each fold) give ``rows``: what is chosen may be restored.

        Prices are those of states counted from the float network, as ever; what cannot be seen in this state (groups
        in dropped branches) keeps its old price.
        """
        wanted = Wanted(self._near(state), lambda key: self._limit(key) if key[1] else np.inf)
        around = self._run(built, rows, wanted)
        options = self.meter.options
        restored = {slot: around.pop((slot, 0)) for slot in np.flatnonzero(state).tolist()}
        changes: dict[Key, Change] = {}
        while around:
            (slot, choice), change = around.popitem()
            cleared = [other for other in restored if options.conflicts[slot, other]]
            change -= sum(restored[other] for other in [slot, *cleared] if other in restored)
            changes[slot, choice] = change
        for slot, change in restored.items():
            changes[slot, int(state[slot])] = -change
        hidden = {key: self._changes[key] for key in self._changes if self._is_hidden(key[0], state)}
        base = (rows - self.reference + sum(restored.values())).astype(np.float32)
        return self._table({**hidden, **changes}, base, _no_limit)

    def _near(self, state: State) -> dict[int, list[int]]:
        """The choices next to those of ``state`` among all that were found worth it, and 0 to restore."""
        near: dict[int, list[int]] = {}
        for slot, own in enumerate(state.tolist()):
            measured = [choice for other, choice in self._changes if other == slot and choice != own]
            if own:
                distances = sorted((abs(choice - own), choice) for choice in measured)
                near[slot] = [0, *sorted(choice for _, choice in distances[:_NEAREST])]
            elif not self._is_hidden(slot, state):
                near[slot] = sorted(measured)[:_FIRST]
        return near

    def _is_hidden(self, slot: int, state: State) -> bool:
        """Whether the slot lies in a dropped branch, or in the term that the dropped one excludes."""
        options = self.meter.options
        return any(options.slots[other].branch and options.conflicts[slot, other] for other in np.flatnonzero(state))

    def _measure(self, choices: Choices, limit: Callable[[Key], float]) -> None:
        nothing = whole(self.meter.network)
        built = [nothing for _ in self.meter.folds]
        self._changes |= self._run(built, self.reference, Wanted(choices, limit))

    def _run(self, built: Sequence[Built], rows: Rows, wanted: Wanted) -> dict[Key, Change]:
        steps = len(wanted.choices) * len(self.meter.folds)
        with self.progress.stage("measuring channel groups", steps) as advance:
            return self.meter.changes(built, rows, wanted, advance)

    def _limit(self, key: Key) -> float:
        return DEAREST * self.share(key)

    def share(self, key: Key) -> float:
        """The share of multiply-accumulates or of parameters, whichever is more, that one option saves."""
        options = self.meter.options
        selection = options.selection(options.chosen(options.nothing(), *key))
        return max(
            1 - cost(selection.kept, selection.dropped) / max(1, cost({}))
            for cost in (self.costs.macs, self.costs.parameters)
        )

    def _table(self, changes: dict[Key, Change], base: Rows, limit: Callable[[Key], float]) -> Table:
        """Of those that cost at most their limit; ``changes`` are views of the table's then, so none is there twice."""
        options = self.meter.options
        losses = {key: float(self.comparison.losses(change[None])[0]) for key, change in changes.items()}
        fine = {key for key, loss in losses.items() if loss <= limit(key)}
        kept = options.where(lambda index: options.choices[index] in fine)
        stacked = np.empty((len(fine), *base.shape), np.float32)
        for index, key in enumerate(key for key in options.choices if key in fine):
            stacked[index] = changes[key]
            changes[key] = stacked[index]
        return Table(kept, Prices(self.comparison, base, stacked))


def _no_limit(key: Key) -> float:
    return np.inf
