"""A pruner that needs no data: it takes the first choices of the options that meet the budget, and any units."""

import numpy as np

from edgekit.errors import GateError
from edgekit.graph.cost import count_macs, count_parameters
from edgekit.passes.prune import Budget, Pruned, PruningReport, find_channel_groups
from edgekit.passes.prune.branches import find_branches
from edgekit.passes.prune.options import find_options
from edgekit.passes.prune.removal import remove
from edgekit.passes.prune.report import GroupReport


class FirstPruner:
    """Narrows one group after the other, one step at a time, until the budget is met."""

    def __init__(self, model, samples, scheme, *, scales=None, progress=None) -> None:
        self.model, self.scheme = model, scheme
        self.budgets: list[Budget] = []
        self._groups = find_channel_groups(model)
        self._options = find_options(self._groups, find_branches(model, self._groups), scheme.channel_multiple)

    def prune(self, budget: Budget) -> Pruned:
        self.budgets.append(budget)
        state = self._options.nothing()
        groups = [index for index, slot in enumerate(self._options.slots) if not slot.branch]
        while budget.cost(self._options.selection(state).kept, frozenset()) > budget.limit:
            wider = [index for index in groups if state[index] < len(self._options.slots[index].kept)]
            if not wider:
                raise GateError(f"{budget.flag}: cannot be met")
            state[min(wider, key=lambda index: (state[index], -index))] += 1
        selection = self._options.selection(state)
        removed = np.zeros(self._groups.unit_count, bool)
        for name, kept in selection.kept.items():
            removed[list(self._groups.of(name).units[kept:])] = True
        model = remove(self.model, self._groups, removed)
        return Pruned(model, selection, self._report(model, selection))

    def _report(self, model, selection) -> PruningReport:
        groups = [
            GroupReport(g.name, g.channels, selection.kept.get(g.name, len(g.units)) * g.unit_channels, 0.01)
            for g in self._groups.groups
        ]
        return PruningReport(
            importance=str(self.scheme.importance),
            macs_before=count_macs(self.model),
            macs_after=count_macs(model),
            parameters_before=count_parameters(self.model),
            parameters_after=count_parameters(model),
            loss=0.02,
            loss_name="KL",
            compensation="none",
            groups=groups,
            whole=[(entry.node, entry.channels, entry.reason) for entry in self._groups.whole],
            notes=["a fake"],
        )
