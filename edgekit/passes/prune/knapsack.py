"""The dynamic program: the least sum of losses that saves enough, when losses and savings add up.

A multiple-choice knapsack on a grid of savings; a residual branch is one item with two kinds of choices: dropped, or
any combination of what can be chosen inside.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgekit.passes.prune.options import Options, State

CELLS = 1000
"""Steps of the grid; savings are rounded down, so what is found saves enough."""

Assign = Callable[[State], None]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One way to save ``cells`` at a loss; ``assign`` writes it into a state."""

    cells: int
    loss: float
    assign: Assign


def knapsack(options: Options, losses: NDArray[np.float64], saved: NDArray[np.float64], wanted: float) -> State:
    """The state with the least sum of ``losses`` [options] whose ``saved`` [options] sum to ``wanted``.

    Where that is too much, the one that saves most on the grid.
    """
    cells = np.minimum(np.floor(saved / wanted * CELLS), CELLS).astype(np.intp)
    state = options.nothing()
    best, assign = _solve(options, [slot for slot, parent in enumerate(options.parents) if parent < 0], losses, cells)
    assign(int(np.flatnonzero(np.isfinite(best))[-1]), state)
    return state


def _solve(
    options: Options, slots: Sequence[int], losses: NDArray[np.float64], cells: NDArray[np.intp]
) -> tuple[NDArray[np.float64], Callable[[int, State], None]]:
    """The least loss for at least each number of cells [CELLS + 1], and what writes the choices behind it."""
    best = np.full(CELLS + 1, np.inf)
    best[0] = 0.0
    steps: list[tuple[list[_Entry], NDArray[np.intp], NDArray[np.intp]]] = []
    for slot in slots:
        entries = _entries(options, slot, losses, cells)
        best, chosen, source = _merge(best, entries)
        steps.append((entries, chosen, source))

    def assign(cell: int, state: State) -> None:
        for entries, chosen, source in reversed(steps):
            entries[chosen[cell]].assign(state)
            cell = int(source[cell])

    return best, assign


def _entries(options: Options, slot: int, losses: NDArray[np.float64], cells: NDArray[np.intp]) -> list[_Entry]:
    def take(choice: int) -> Assign:
        return lambda state: state.__setitem__(slot, choice)

    entries = [_Entry(0, 0.0, lambda state: None)]
    for choice in range(1, len(options.slots[slot].kept) + 1):
        index = options.indices[slot, choice]
        if cells[index] > 0:
            entries.append(_Entry(int(cells[index]), float(losses[index]), take(choice)))
    inner = [other for other, parent in enumerate(options.parents) if parent == slot]
    if inner:
        best, assign = _solve(options, inner, losses, cells)
        reachable = np.flatnonzero(np.isfinite(best[1:])) + 1
        entries += [_Entry(cell, float(best[cell]), partial(assign, cell)) for cell in reachable.tolist()]
    return entries


def _merge(
    best: NDArray[np.float64], entries: Sequence[_Entry]
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """One more item: the new best, and for each cell the entry taken and the cell it came from."""
    merged = np.full(CELLS + 1, np.inf)
    chosen, source = np.zeros(CELLS + 1, np.intp), np.zeros(CELLS + 1, np.intp)
    wanted = np.arange(CELLS + 1)
    for index, entry in enumerate(entries):
        before = np.maximum(wanted - entry.cells, 0)
        loss = best[before] + entry.loss
        better = loss < merged
        merged[better], chosen[better], source[better] = loss[better], index, before[better]
    return merged, chosen, source
