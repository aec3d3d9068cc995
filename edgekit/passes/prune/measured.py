"""Prune by measurement: prices, search, a second look around what was found, and the better compensation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from edgekit.passes.prune.build import Built, Network, Orders, build
from edgekit.passes.prune.compensation import Judged, choose
from edgekit.passes.prune.cost import CostModel
from edgekit.passes.prune.filling import filled
from edgekit.passes.prune.growing import between, grown, price
from edgekit.passes.prune.loss import OutputLoss, Rows
from edgekit.passes.prune.network import Sample, activations
from edgekit.passes.prune.options import Options
from edgekit.passes.prune.pricing import DEAREST, Pricer, Table, plan
from edgekit.passes.prune.ranking import Ranker
from edgekit.passes.prune.report import Wider
from edgekit.passes.prune.samples import Fold, halves
from edgekit.passes.prune.search import search
from edgekit.passes.prune.selection import Selection
from edgekit.passes.prune.sensitivity import Meter
from edgekit.progress import Progress

SECOND_LOOK = 0.3
"""From this share of the multiply-accumulates on, prices are measured again around what was found. Below, the first
ones are right (EfficientNet-Lite1 at 20 %: 0.049 foretold, 0.062 measured; at 40 %: 0.177 and 0.346)."""

_SURPRISE = 1.5
"""So many times the loss foretold calls for a second look too."""

Cost = Callable[[Selection], float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to remove, the full-size network fitted on all samples, and its loss on samples that a fit has not seen.

    ``notes``: what was left out of the measurement. ``wider``: what met the budget too, and lost more.
    """

    selection: Selection
    built: Built
    judged: Judged
    notes: Sequence[str]
    wider: Wider | None


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A selection, built on each fold, and what the folds' unseen samples say of it."""

    selection: Selection
    built: tuple[Built, ...]
    rows: Rows
    loss: float


class Measured:
    """Everything that needs samples; the prices are measured once, when they are first needed."""

    def __init__(
        self,
        network: Network,
        options: Options,
        costs: CostModel,
        samples: Sequence[Sample],
        ranker: Ranker,
        progress: Progress,
    ) -> None:
        self._network = network
        self._options = options
        self._costs = costs
        self._samples = samples
        self._ranker = ranker
        self._progress = progress
        self._given_back: dict[tuple[str, int], float] = {}
        self.loss = OutputLoss(network.model)

    @cached_property
    def pricer(self) -> Pricer:
        """The prices of what can be measured in time."""
        names = [value.name or "" for value in self._network.model.graph.outputs]
        (outputs,) = activations(self._network.model, names, self._samples[:1])
        width = len(self.loss.row(outputs))
        blank = Meter(self._network, self._options, self.loss, (), ())
        planned = plan(self._network, self._options, blank.macs, width)
        folds: tuple[Fold, ...] = halves(self._samples, planned.tests)
        meter = Meter(self._network, self._options, self.loss, folds, [self._ranker.orders(fold.fit) for fold in folds])
        return Pricer(meter, self._costs, planned, self._progress)

    def alone(self, name: str, kept: int, *, branch: bool) -> float | None:
        """What keeping so many units of a group, or dropping a branch, alone adds to the loss; None: not measured."""
        for slot, each in enumerate(self._options.slots):
            if each.name == name and each.branch == branch and kept in each.kept:
                return self.pricer.alone((slot, each.kept.index(kept) + 1))
        return None if branch else self._given_back.get((name, kept))

    @cached_property
    def _orders(self) -> Orders:
        return self._ranker.orders(self._samples)

    def prune(self, cost: Cost, limit: float) -> Outcome:
        """The least loss that costs at most ``limit``; that everything at its smallest does is known."""
        attempt, foretold = self._first(cost, limit)
        if self._removed(attempt.selection) >= SECOND_LOOK or attempt.loss > _SURPRISE * foretold:
            attempt = min(attempt, self._second_look(attempt, cost, limit), key=lambda each: each.loss)
        attempt, wider = self._better(attempt, self._grown(attempt, cost, limit))
        self._price(attempt.selection)
        judged = choose(self.pricer.meter, self.pricer.comparison, attempt.built, attempt.loss, self._progress)
        with self._progress.stage("compensating", 1) as advance:
            built = build(self._network, attempt.selection, self._samples, self._orders)
            built = judged.way.apply(self._network, built, self._samples)
            advance(1)
        return Outcome(attempt.selection, built, judged, self._notes(attempt.selection), wider)

    def _first(self, cost: Cost, limit: float) -> tuple[_Attempt, float]:
        """What the prices around the float network lead to, and the loss that they foretell."""
        found = self._found(self.pricer.table(), cost, limit)
        if found is None or found[1] > DEAREST * (1 - limit / cost(Selection())):
            # As dear as what the table leaves out, which may be the better way then.
            found = self._found(self.pricer.full_table(), cost, limit)
        table = None if found else self.pricer.whole_table()
        if table is not None:
            found = self._found(table, cost, limit)
        if found is not None:
            return self._attempt(found[0]), found[1]
        selections = filled(self._options, table or self.pricer.full_table(), cost, limit)
        smallest = self._options.selection(self._options.smallest(cost))
        attempts = [self._attempt(selection) for selection in selections or [smallest]]
        return min(attempts, key=lambda each: each.loss), 0.0

    def _notes(self, selection: Selection) -> list[str]:
        """What was left out of the measurement, and what it was cut by then."""
        if self.pricer.plan.note is None:
            return []
        names = [self._options.slots[slot].name for slot in self.pricer.left_whole]
        cut = [name for name in names if name in selection.kept]
        blind = [name for name in cut if self.alone(name, selection.kept[name], branch=False) is None]
        if blind:
            return [
                f"the budget needs residual streams, which take too long to measure: {', '.join(blind)} by cost alone"
            ]
        return [] if cut else [self.pricer.plan.note]

    def _found(self, table: Table, cost: Cost, limit: float) -> tuple[Selection, float] | None:
        with self._progress.stage("searching", 1) as advance:
            found = search(table.options, table.prices, cost, limit)
            advance(1)
        return None if found is None else (table.options.selection(found.state), found.loss)

    def _attempt(self, selection: Selection) -> _Attempt:
        """Builds on each fold and measures."""
        meter, comparison = self.pricer.meter, self.pricer.comparison
        built = []
        with self._progress.stage("compensating", len(meter.folds)) as advance:
            for fold, orders in zip(meter.folds, meter.orders, strict=True):
                built.append(build(self._network, selection, fold.fit, orders))
                advance(1)
        rows = meter.rows(built)
        loss = float(comparison.losses((rows - comparison.reference)[None])[0])
        return _Attempt(selection, tuple(built), rows, loss)

    def _second_look(self, attempt: _Attempt, cost: Cost, limit: float) -> _Attempt:
        state = self._options.state(attempt.selection)
        table = self.pricer.table_around(state, attempt.built, attempt.rows)
        found = self._found(table, cost, limit)
        if found is None or found[0] == attempt.selection:
            return attempt
        return self._attempt(found[0])

    def _grown(self, attempt: _Attempt, cost: Cost, limit: float) -> _Attempt:
        """With back what the budget has room for."""
        unplanned = {self._options.slots[slot].name for slot in self.pricer.left_whole}
        alone = {name: self.alone(name, kept, branch=False) for name, kept in attempt.selection.kept.items()}
        losses = {name: loss for name, loss in alone.items() if loss is not None and name not in unplanned}
        selection = grown(self._options, losses, attempt.selection, cost, limit)
        return attempt if selection == attempt.selection else self._attempt(selection)

    def _price(self, selection: Selection) -> None:
        """What groups that got units back add alone: their choices were priced before, not these."""
        given_back = between(self._options, selection).items()
        kept = {name: count for name, count in given_back if (name, count) not in self._given_back}
        losses = price(self.pricer, kept) if kept else {}
        self._given_back |= {(name, kept[name]): loss for name, loss in losses.items()}

    def _better(self, attempt: _Attempt, grown: _Attempt) -> tuple[_Attempt, Wider | None]:
        """The one to take, on a tie the wider one, which is nearer to what was asked; and the wider one if it lost."""
        if grown.loss <= attempt.loss:
            return grown, None
        macs = self._costs.macs(grown.selection.kept, grown.selection.dropped)
        return attempt, Wider(macs, grown.loss, attempt.loss)

    def _removed(self, selection: Selection) -> float:
        """The share of the multiply-accumulates."""
        return 1 - self._costs.macs(selection.kept, selection.dropped) / max(1, self._costs.macs({}))
