"""Give back what a search has removed beyond the budget: it knows a few numbers of channels for each group only."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from edgekit.passes.prune.options import Options, Slot
from edgekit.passes.prune.selection import Selection

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


def _with(selection: Selection, slot: Slot, kept: int) -> Selection:
    """With so many units of the slot; all of them are none to speak of."""
    others = {name: count for name, count in selection.kept.items() if name != slot.name}
    return replace(selection, kept=others if kept == slot.units else others | {slot.name: kept})
