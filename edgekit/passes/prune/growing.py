"""Give back what a search has removed beyond the budget: it knows a few numbers of channels for each group only."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from edgekit.passes.prune.build import whole
from edgekit.passes.prune.options import Options, Slot
from edgekit.passes.prune.pricing import Pricer
from edgekit.passes.prune.selection import Selection
from edgekit.passes.prune.sensitivity import Wanted

LEAST_ROOM = 0.01
"""Of the unpruned network's cost: less room in the budget is not worth building another network."""

Cost = Callable[[Selection], float]


def grown(options: Options, losses: Mapping[str, float], selection: Selection, cost: Cost, limit: float) -> Selection:
    """``selection`` with as many units back as ``limit`` allows; of groups whose units lose most for their cost first.

    ``losses``: what each group's choice in ``selection`` adds to the loss, alone; groups that have none stay.
    """
    if limit - cost(selection) < LEAST_ROOM * cost(Selection()):
        return selection
    slots = [slot for slot in options.slots if not slot.branch and slot.name in selection.kept and slot.name in losses]

    def saved(slot: Slot) -> float:
        return cost(_with(selection, slot, slot.units)) - cost(selection)

    for slot in sorted((slot for slot in slots if saved(slot) > 0), key=lambda slot: -losses[slot.name] / saved(slot)):
        for kept in range(slot.units, selection.kept[slot.name], -1):
            wider = _with(selection, slot, kept)
            if (kept - selection.kept[slot.name]) % slot.step == 0 and cost(wider) <= limit:
                selection = wider
                break
    return selection


def between(options: Options, selection: Selection) -> dict[str, int]:
    """The units kept of groups of which ``options`` has no such choice: some of them came back."""
    slots = {slot.name: slot for slot in options.slots if not slot.branch}
    return {name: kept for name, kept in selection.kept.items() if kept not in slots[name].kept}


def price(pricer: Pricer, kept: Mapping[str, int]) -> dict[str, float]:
    """What keeping so many units of each of the groups ``kept`` adds to the float network's loss, alone."""
    slots = list(pricer.meter.options.slots)
    wanted = {slot: [1] for slot, each in enumerate(slots) if not each.branch and each.name in kept}
    for slot in wanted:
        slots[slot] = replace(slots[slot], kept=(kept[slots[slot].name],))
    meter = replace(pricer.meter, options=replace(pricer.meter.options, slots=tuple(slots)))
    nothing = [whole(meter.network) for _ in meter.folds]
    with pricer.progress.stage("measuring channel groups", len(wanted) * len(meter.folds)) as advance:
        changes = meter.changes(nothing, pricer.reference, Wanted(wanted, lambda key: np.inf), advance)
    losses = {slot: pricer.comparison.losses(change[None])[0] for (slot, _), change in changes.items()}
    return {slots[slot].name: float(loss) for slot, loss in losses.items()}


def _with(selection: Selection, slot: Slot, kept: int) -> Selection:
    """With so many units of the slot; all of them are none to speak of."""
    others = {name: count for name, count in selection.kept.items() if name != slot.name}
    return replace(selection, kept=others if kept == slot.units else others | {slot.name: kept})
