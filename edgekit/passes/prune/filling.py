"""Budgets that what was measured cannot meet: choices that nobody has measured are added, by their cost alone."""

from collections.abc import Callable

import numpy as np

from edgekit.passes.prune.options import Options, State
from edgekit.passes.prune.pricing import Table
from edgekit.passes.prune.search import search
from edgekit.passes.prune.selection import Selection

Cost = Callable[[Selection], float]


def filled(options: Options, table: Table, cost: Cost, limit: float) -> list[Selection]:
    """Selections of ``options`` that just meet ``limit``; ``table`` has those that are measured.

    Of the slots without a measured choice as few as possible are chosen: once beside the smallest of everything that
    is measured, once alone. What they leave of the budget is searched for among the measured ones.
    """
    measured = np.array([bool(slot.kept) for slot in table.options.slots])
    smallest = options.state(table.options.selection(table.options.smallest(cost)))
    found = []
    for start in (smallest, options.nothing()):
        state = _walked(options, start, measured, cost, limit)
        if state is not None:
            selection = _searched(options, table, np.where(measured, 0, state), cost, limit)
            found += [selection] if selection is not None and selection not in found else []
    return found


def _walked(options: Options, start: State, measured: State, cost: Cost, limit: float) -> State | None:
    """From ``start`` by single steps of what is not measured; None when they cannot meet ``limit``.

    The last step is the one that overshoots least; before it, slots that have lost least go first.
    """
    state = start
    while cost(options.selection(state)) > limit:
        steps = [
            options.chosen(state, slot, int(state[slot]) + 1)
            for slot, each in enumerate(options.slots)
            if not measured[slot] and state[slot] < len(each.kept) and not state[options.conflicts[slot]].any()
        ]
        if not steps:
            return None
        costs = [cost(options.selection(step)) for step in steps]
        enough = [index for index, each in enumerate(costs) if each <= limit]
        if enough:
            return steps[max(enough, key=lambda index: costs[index])]
        lost = [int(step[step != state][0]) for step in steps]
        state = steps[min(range(len(steps)), key=lambda index: (lost[index], costs[index]))]
    return state


def _searched(options: Options, table: Table, fixed: State, cost: Cost, limit: float) -> Selection | None:
    """The best of what is measured, beside what is ``fixed``."""

    def merged(selection: Selection) -> Selection:
        state = options.state(selection)
        for slot in np.flatnonzero(fixed):
            if not state[options.conflicts[slot]].any():
                state[slot] = fixed[slot]
        return options.selection(state)

    found = search(table.options, table.prices, lambda selection: cost(merged(selection)), limit)
    return None if found is None else merged(table.options.selection(found.state))
