"""Measure what each option alone does to the outputs, on samples that its fit has not seen.

Everything happens on the full-size network: a group's readers get other weights, and only what follows them is run. It
may be measured around any state of the network: the float one, or one that is pruned already.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.cost import count_macs, count_parameters, node_macs
from edgekit.passes.prune.build import MOST_MACS, Built, Network, Orders
from edgekit.passes.prune.collecting import collect
from edgekit.passes.prune.cutting import Cut
from edgekit.passes.prune.layers import Layer
from edgekit.passes.prune.loss import Comparison, OutputLoss, Rows
from edgekit.passes.prune.moments import InputMoments
from edgekit.passes.prune.network import Array, Sample, Suffix, Weights, activations, with_weights
from edgekit.passes.prune.options import Options
from edgekit.passes.prune.readers import GroupReaders, own_weight
from edgekit.passes.prune.removal import Removed
from edgekit.passes.prune.samples import Fold, evenly, evenly_first
from edgekit.progress import Advance

Key = tuple[int, int]
"""Slot and choice; choice 0 restores the slot in a network that has lost it."""

Change = NDArray[np.float32]
"""[samples, width]: changed rows minus the rows before."""

_BUNDLE_BYTES = 256 * 2**20
_EARLY = 8
"""After so many samples of a half, evenly spread, what costs more than `_HOPELESS` times the limit is given up."""
_HOPELESS = 2.0
_LEAST_FITS = 32
_WORKERS = 2


@dataclass(frozen=True, slots=True)
class Wanted:
    """Options to measure: choices by slot. ``limit``: the loss above which an option is useless."""

    choices: Mapping[int, Sequence[int]]
    limit: Callable[[Key], float]


@dataclass
class _Subject:
    """One slot under measurement: what follows its readers, and their weights for each choice."""

    slot: int
    suffix: Suffix
    weights: dict[int, Weights]
    changes: dict[int, list[Change]] = field(default_factory=dict)

    def give_up(self, choice: int) -> None:
        """Neither this choice nor those that keep less are measured any further."""
        for worse in [other for other in self.weights if other >= choice]:
            del self.weights[worse]
            self.changes.pop(worse, None)


@dataclass(frozen=True)
class Meter:
    """Measures options of a network on folds; ``orders``: of the channels, as each fold's own samples tell."""

    network: Network
    options: Options
    loss: OutputLoss
    folds: Sequence[Fold]
    orders: Sequence[Orders]

    def rows(self, built: Sequence[Built]) -> Rows:
        """[samples, width] of all test samples, each from the network that was built without it."""
        names = [value.name or "" for value in self.network.model.graph.outputs]
        found = [
            self.loss.row(outputs)
            for fold, each in zip(self.folds, built, strict=True)
            for outputs in activations(with_weights(self.network.model, each.weights), names, fold.test)
        ]
        return np.stack(found)

    def loss_of(self, comparison: Comparison, built: Sequence[Built]) -> float:
        """The loss of networks that were built on each fold, on the samples that they have not seen."""
        return float(comparison.losses((self.rows(built) - comparison.reference)[None])[0])

    def macs(self, slot: int) -> int:
        """Multiply-accumulates that one choice of the slot takes for one sample."""
        return _macs_behind(self.network.model, self._first_nodes(slot))

    def changes(self, built: Sequence[Built], before: Rows, wanted: Wanted, advance: Advance) -> dict[Key, Change]:
        """What each wanted option changes of the rows ``before`` of a state; hopeless ones are left out.

        ``advance``: called with slots done; each counts once for each fold.
        """
        found: list[dict[Key, Change]] = []
        left, start = dict(wanted.choices), 0
        for index, (fold, each) in enumerate(zip(self.folds, built, strict=True)):
            rows = before[start : start + len(fold.test)]
            found.append(dict(self._changes_of_fold(index, each, rows, Wanted(left, wanted.limit), advance)))
            left = {slot: [choice for choice in left[slot] if (slot, choice) in found[-1]] for slot in left}
            start += len(fold.test)
        # Pieces go as they are put together: nothing is there twice.
        return {key: np.concatenate([each.pop(key) for each in found]) for key in list(found[-1])}

    def _changes_of_fold(
        self, index: int, built: Built, before: Rows, wanted: Wanted, advance: Advance
    ) -> Iterator[tuple[Key, Change]]:
        model = with_weights(self.network.model, built.weights)
        choices = {slot: each for slot, each in wanted.choices.items() if each}
        order = evenly_first(len(before), _EARLY)
        samples, place = [self.folds[index].test[each] for each in order], np.argsort(order)
        advance(len(wanted.choices) - len(choices))
        for bundle in self._bundles(choices, built.dropped):
            subjects = self._subjects(index, built, model, {slot: choices[slot] for slot in bundle})
            self._run(model, subjects, samples, before[order], wanted.limit)
            for subject in subjects:
                for choice in list(subject.changes):
                    yield (subject.slot, choice), np.stack(subject.changes.pop(choice))[place]
            advance(len(bundle))

    def _run(
        self,
        model: ir.Model,
        subjects: Sequence[_Subject],
        samples: Sequence[Sample],
        before: Rows,
        limit: Callable[[Key], float],
    ) -> None:
        names = list(dict.fromkeys(name for subject in subjects for name in subject.suffix.entering))
        with ThreadPoolExecutor(_WORKERS) as pool:
            for index, arrays in enumerate(activations(model, names, samples)):
                values = dict(zip(names, arrays, strict=True))
                running = [
                    (subject, choice, pool.submit(subject.suffix.run, values, weights))
                    for subject in subjects
                    for choice, weights in subject.weights.items()
                ]
                for subject, choice, outputs in running:
                    change = self.loss.row(outputs.result()) - before[index]
                    subject.changes.setdefault(choice, []).append(change.astype(np.float32))
                if index + 1 == _EARLY:
                    self._give_up(subjects, before, limit)

    def _give_up(self, subjects: Sequence[_Subject], before: Rows, limit: Callable[[Key], float]) -> None:
        comparison = self.loss.against(before[:_EARLY], before)
        for subject in subjects:
            for choice in sorted(subject.weights):
                if choice in subject.weights:
                    loss = comparison.losses(np.stack(subject.changes[choice])[None])[0]
                    if loss > _HOPELESS * limit((subject.slot, choice)):
                        subject.give_up(choice)

    def _subjects(
        self, index: int, built: Built, model: ir.Model, choices: Mapping[int, Sequence[int]]
    ) -> list[_Subject]:
        layers = [layer for slot in choices for layer in self._layers(slot, built.dropped)]
        nodes = list(dict.fromkeys(layer.node.name or "" for layer in layers))
        fit = evenly(self.folds[index].fit, self._affordable_fits)
        moments = collect(self.network.model, built.weights, nodes, fit) if nodes else {}
        return [self._subject(slot, each, index, built, model, moments) for slot, each in choices.items()]

    def _subject(
        self,
        slot: int,
        choices: Sequence[int],
        index: int,
        built: Built,
        model: ir.Model,
        moments: Mapping[str, InputMoments],
    ) -> _Subject:
        if self.options.slots[slot].branch:
            weights = self._of_branch(slot, choices, built)
        else:
            weights = self._of_group(slot, choices, built, moments, self.orders[index])
        names = dict.fromkeys(name for given in weights.values() for name in given)
        return _Subject(slot, Suffix(model, self._first_nodes(slot), list(names)), weights)

    def _of_group(
        self, slot: int, choices: Sequence[int], built: Built, moments: Mapping[str, InputMoments], orders: Orders
    ) -> dict[int, Weights]:
        each = self.options.slots[slot]
        readers = self.network.voters(each.name, built.dropped)
        removed = built.removed.copy()
        removed[list(readers.group.units)] = False
        counts = {choice: each.kept[choice - 1] if choice else len(readers.group.units) for choice in choices}
        cuts = self.network.cutter.cut(
            readers, moments, list(counts.values()), removed=removed, order=orders.get(each.name)
        )
        return {choice: self._of_cut(readers, cuts[count], built, removed) for choice, count in counts.items()}

    def _of_cut(self, readers: GroupReaders, cut: Cut, built: Built, removed: Removed) -> Weights:
        """All that the cut changes. What other groups (``removed``) and branches have lost stays lost."""
        gone = removed.copy()
        gone[np.delete(np.array(readers.group.units), cut.kept)] = True
        weights = {**self._solved(built, [name for name, _ in readers.zeroed]), **cut.weights}
        weights |= self.network.zeroed(weights, gone)
        zeros = self.network.dropped_weights(built.dropped)
        return {name: zeros.get(name, array) for name, array in weights.items()}

    def _of_branch(self, slot: int, choices: Sequence[int], built: Built) -> dict[int, Weights]:
        name = self.options.slots[slot].name
        zeros = self.network.dropped_weights([name])
        restored = self._solved(built, zeros)
        restored |= self.network.zeroed(restored, built.removed)
        return {choice: zeros if choice else restored for choice in choices}

    def _solved(self, built: Built, names: Iterable[str]) -> dict[str, Array]:
        """Constants of a state before anything was zeroed in them."""
        return {name: built.solved.get(name, own_weight(self.network.model, name)) for name in names}

    def _layers(self, slot: int, dropped: frozenset[str]) -> Sequence[Layer]:
        """What is solved for the slot when these branches are dropped."""
        each = self.options.slots[slot]
        return () if each.branch else self.network.voters(each.name, dropped).fitted

    def _first_nodes(self, slot: int) -> tuple[str, ...]:
        each = self.options.slots[slot]
        return (self.network.branch(each.name).last,) if each.branch else self.network.readers[each.name].nodes

    @cached_property
    def _affordable_fits(self) -> int:
        return max(_LEAST_FITS, int(MOST_MACS / max(1, count_macs(self.network.model))))

    def _bundles(self, choices: Mapping[int, Sequence[int]], dropped: frozenset[str]) -> Iterator[list[int]]:
        """Slots that are measured in one pass: what they keep in memory has a bound."""
        session = 8 * count_parameters(self.network.model)
        bundle: list[int] = []
        used = 0
        for slot, each in choices.items():
            layers = self._layers(slot, dropped)
            moments = sum(24 * layer.blocks * (layer.columns + 1) ** 2 for layer in layers)
            # Each choice has its own weights.
            weights = sum(4 * layer.blocks * layer.outputs * (layer.columns + 1) for layer in layers)
            size = session + moments + len(each) * weights
            if bundle and used + size > _BUNDLE_BYTES:
                yield bundle
                bundle, used = [], 0
            bundle.append(slot)
            used += size
        if bundle:
            yield bundle


def _macs_behind(model: ir.Model, first: Sequence[str]) -> int:
    """Of the nodes called ``first`` and all that depend on them."""
    names, total = set(first), 0
    behind: set[ir.Value | None] = set()
    for node in model.graph:
        if node.name in names or any(value in behind for value in node.inputs):
            behind.update(node.outputs)
            total += node_macs(node)
    return total
