"""The whole of pruning on one page: groups, prices, search, build, the better compensation, removal."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import GateError, ModelError, UsageError
from edgekit.graph.cost import count_macs, count_parameters
from edgekit.graph.decisions import hide, reveal
from edgekit.graph.queries import is_floating
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.prune.branches import find_branches
from edgekit.passes.prune.build import Built, Network, build
from edgekit.passes.prune.compensation import Way
from edgekit.passes.prune.constants import separate_constants
from edgekit.passes.prune.cost import CostModel
from edgekit.passes.prune.finishing import shrink
from edgekit.passes.prune.groups import WholeChannels, find_channel_groups
from edgekit.passes.prune.measured import Measured, Outcome
from edgekit.passes.prune.network import Sample
from edgekit.passes.prune.options import find_options, misaligned
from edgekit.passes.prune.ranking import Ranker, usable_importance
from edgekit.passes.prune.report import BranchReport, GroupReport, PruningReport
from edgekit.passes.prune.samples import LEAST_TO_FIT, gather
from edgekit.passes.prune.scheme import PruningScheme
from edgekit.passes.prune.selection import Selection
from edgekit.passes.prune.uniform import uniform
from edgekit.progress import Progress, Silent

_REASONS = 2
"""So many of the largest layers that stay whole are named when a budget cannot be met."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What must be met.

    ``cost`` gives what a selection costs (multiply-accumulates, bytes, milliseconds): it must be at most ``limit``.
    ``unit`` and ``flag`` are for messages: "MACs", "bytes", "ms"; "--prune 0.25". ``spell``: what a selection costs, as
    people write it; None: four digits and the unit.
    """

    cost: Callable[[Mapping[str, int], frozenset[str]], float]
    limit: float
    unit: str
    flag: str
    spell: Callable[[Selection], str] | None = None

    def of(self, selection: Selection) -> float:
        """What a selection costs."""
        return self.cost(selection.kept, selection.dropped)


@dataclass(frozen=True, slots=True)
class Pruned:
    """The smaller model (float, canonical), what was removed, and the report.

    ``way``: how it was made up for; None where nothing was fitted.
    """

    model: ir.Model
    selection: Selection
    report: PruningReport
    way: Way | None = None


class Pruner:
    """Prices the channels of one model once, and prunes it to any number of budgets.

    ``model`` is canonical and float, and not changed. ``samples`` are unlabelled and iterable more than once; None:
    importance from the weights alone, no compensation (DataError when ``scheme.strict`` and the importance needs data).
    Fewer than four samples are as good as none. ``scales``: of ``importance.bn_scale.batch_norm_scales``, for the
    importance of that name. ``batch``: how many of the user's samples one of ``samples`` is, for what is told of them.
    """

    def __init__(
        self,
        model: ir.Model,
        samples: Iterable[Sample] | None,
        scheme: PruningScheme,
        *,
        scales: Mapping[str, NDArray[np.float64]] | None = None,
        progress: Progress | None = None,
        batch: int = 1,
    ) -> None:
        self._scheme = scheme
        self._samples = [] if samples is None else gather(samples)
        self._importance, self._notes = usable_importance(scheme, len(self._samples), batch)
        self._given, model = model, separate_constants(model)
        self._revealed = reveal(model)
        _require_numbers(model)
        channels = find_channel_groups(model)
        self._network = Network(model, channels, find_branches(model, channels))
        self._costs = CostModel(model, channels, self._network.branches)
        self._options = find_options(channels, self._network.branches, scheme.channel_multiple)
        self._ranker = Ranker(self._network, self._importance, scheme.seed, scales or {})
        self._notes += self._ranker.notes
        self._measured: Measured | None = None
        if len(self._samples) >= LEAST_TO_FIT:
            self._measured = Measured(
                self._network, self._options, self._costs, self._samples, self._ranker, progress or Silent()
            )

    @property
    def costs(self) -> CostModel:
        """Of this model, by the names of its groups and branches."""
        return self._costs

    def prune(self, budget: float | Budget) -> Pruned:
        """Remove channels until the budget is met, where it costs least.

        ``budget``: the share of multiply-accumulates to remove, in (0, 1), or a Budget. Raises UsageError for a share
        outside (0, 1), and GateError when the budget cannot be met; the message says what can be.
        """
        goal = budget if isinstance(budget, Budget) else _share(budget, self._costs)
        if goal.of(Selection()) <= goal.limit:
            return self._finished(Selection(), None)
        smallest = self._options.selection(self._options.smallest(goal.of))
        if goal.of(smallest) > goal.limit:
            raise _unreachable(goal, smallest, self._network.channels.whole)
        if self._measured is not None:
            outcome = self._measured.prune(goal.of, goal.limit)
            return self._finished(outcome.selection, outcome)
        found = uniform(self._network.channels, self._scheme.channel_multiple, goal.of, goal.limit)
        return self._finished(found or smallest, None)

    def fitted(self, pruned: Pruned, samples: Iterable[Sample]) -> ir.Model | None:
        """The same numbers of channels removed, chosen and made up for on ``samples`` alone; None: nothing was fitted.

        For who wants to judge on the others what becomes of it. Its tensors have the shapes of ``pruned.model``'s.
        """
        if pruned.way is None:
            return None
        seen, network = gather(samples), self._network
        built = build(network, pruned.selection, seen, self._ranker.orders(seen))
        built = pruned.way.apply(network, built, seen)
        return self._shrunk(built, pruned.selection.dropped, seen[0])

    def _shrunk(self, built: Built, dropped: Collection[str], sample: Sample | None) -> ir.Model:
        small = shrink(self._network, built, dropped, sample)
        if not self._revealed:
            return small
        hide(small, self._revealed)
        return canonicalize(small)

    def _finished(self, selection: Selection, outcome: Outcome | None) -> Pruned:
        network = self._network
        built = build(network, selection, [], self._ranker.orders([])) if outcome is None else outcome.built
        sample = self._samples[0] if self._samples else None
        small = self._shrunk(built, selection.dropped, sample)
        way = None if outcome is None else outcome.judged.way
        return Pruned(small, selection, self._report(small, selection, outcome), way)

    def _report(self, small: ir.Model, selection: Selection, outcome: Outcome | None) -> PruningReport:
        model, channels = self._network.model, self._network.channels
        notes = list(self._notes)
        if outcome is not None:
            notes += outcome.notes
        if outcome is not None and outcome.judged.note is not None:
            notes.append(outcome.judged.note)
        notes += self._misaligned(selection)
        return PruningReport(
            importance=str(self._importance),
            macs_before=count_macs(model),
            macs_after=count_macs(small),
            parameters_before=count_parameters(self._given),
            parameters_after=count_parameters(small),
            loss=None if outcome is None else outcome.judged.loss,
            loss_name="" if self._measured is None else self._measured.loss.name,
            compensation="none" if outcome is None else outcome.judged.way.name,
            groups=self._groups(selection),
            whole=[(each.node, each.channels, each.reason) for each in channels.whole],
            notes=notes,
            branches=[
                BranchReport(branch.name, branch.add, self._alone(branch.name, 0, branch=True))
                for branch in self._network.branches
                if branch.name in selection.dropped
            ],
            wider=None if outcome is None else outcome.wider,
        )

    def _misaligned(self, selection: Selection) -> list[str]:
        gone = {node for branch in selection.dropped for node in self._network.branch(branch).nodes}
        multiple = self._scheme.channel_multiple
        return [
            f"{node}: {after} of {before} channels are left, which is no multiple of {multiple}: none could be"
            for node, (before, after) in misaligned(self._network.channels, selection, multiple).items()
            if node not in gone
        ]

    def _groups(self, selection: Selection) -> list[GroupReport]:
        gone = {name for branch in selection.dropped for name in self._network.branch(branch).groups}
        found = []
        for group in self._network.channels.groups:
            kept = 0 if group.name in gone else selection.kept.get(group.name, len(group.units))
            loss = self._alone(group.name, kept) if group.name in selection.kept else None
            channels = kept * group.unit_channels
            found.append(GroupReport(group.name, group.channels, channels, loss, dropped=group.name in gone))
        return found

    def _alone(self, name: str, kept: int, *, branch: bool = False) -> float | None:
        if self._measured is None:
            return None
        return self._measured.alone(name, kept, branch=branch)


def _require_numbers(model: ir.Model) -> None:
    if any(is_floating(output) for output in model.graph.outputs):
        return
    names = ", ".join(f'"{output.name}" ({output.dtype})' for output in model.graph.outputs)
    raise ModelError(
        f"pruning compares outputs, and this model gives no floats, nor are scores found behind its outputs {names}: "
        "export it with the scores that these are made of as an output"
    )


def prune(
    model: ir.Model,
    samples: Iterable[Sample] | None,
    budget: float | Budget,
    scheme: PruningScheme,
    *,
    progress: Progress | None = None,
) -> Pruned:
    """Remove channels of the canonical float ``model`` until the budget is met, where it costs least.

    Args:
        model: not changed.
        samples: unlabelled, iterable more than once; None: importance from the weights alone, and no compensation.
        budget: the share of multiply-accumulates to remove, in (0, 1), or a Budget.
        scheme: of the target.
        progress: told of each stage.

    Raises:
        UsageError: a share outside (0, 1).
        GateError: the budget cannot be met; the message says what can be.
        DataError: no samples although ``scheme.strict``.
    """
    return Pruner(model, samples, scheme, progress=progress or Silent()).prune(budget)


def _share(ratio: float, costs: CostModel) -> Budget:
    if not 0 < ratio < 1:
        raise UsageError(
            f"--prune {ratio:g}: expected a share of the multiply-accumulates above 0 and below 1, say 0.25"
        )
    return Budget(costs.macs, (1 - ratio) * costs.macs({}), "MACs", f"--prune {ratio:g}")


def _unreachable(goal: Budget, smallest: Selection, whole: Iterable[WholeChannels]) -> GateError:
    if goal.unit == "MACs":
        share = _floored(1 - goal.of(smallest) / goal.of(Selection()))
        text = f"{goal.flag}: at most {share} % of the MACs can be removed from this model"
    else:
        least, before = (
            f"{goal.of(each):,.4g} {goal.unit}" if goal.spell is None else goal.spell(each)
            for each in (smallest, Selection())
        )
        text = f"{goal.flag}: at least {least} of {before} are left of this model"
    largest = sorted(whole, key=lambda each: -each.channels)[:_REASONS]
    stay = [f"{each.node} stays whole with {each.channels} channels ({each.reason})" for each in largest]
    return GateError("; ".join([text, *stay]))


def _floored(share: float) -> str:
    """Percent that can be had: rounded down."""
    return f"{int(max(share, 0.0) * 1000) / 10:g}"
