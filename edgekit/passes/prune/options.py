"""What a search may choose from: for each group how many units stay, for each residual branch whether it is dropped."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgekit.passes.prune.branches import Branch
from edgekit.passes.prune.groups import ChannelGroup, ChannelGroups
from edgekit.passes.prune.selection import Selection

State = NDArray[np.intp]
"""[slots]: what is chosen in each slot; 0 leaves it whole, n is its n-th choice."""

_EIGHTHS = (7, 6, 5, 4, 3, 2, 1)
_FEW = (7, 6, 4)


@dataclass(frozen=True, slots=True)
class Slot:
    """One decision. ``kept``: its choices, descending, units of the group ``name``; (0,) drops the branch ``name``."""

    name: str
    kept: tuple[int, ...]
    branch: bool = False


@dataclass(frozen=True)
class Options:
    """All decisions of a model. ``conflicts`` [slots, slots]: pairs of which one at most is chosen.

    ``parents``: for each slot that of the smallest branch it lies in, or -1.
    """

    slots: tuple[Slot, ...]
    conflicts: NDArray[np.bool_]
    parents: tuple[int, ...]

    @cached_property
    def choices(self) -> tuple[tuple[int, int], ...]:
        """(slot, choice) of every single option, choices counted from 1."""
        return tuple((slot, choice + 1) for slot, each in enumerate(self.slots) for choice in range(len(each.kept)))

    @cached_property
    def indices(self) -> dict[tuple[int, int], int]:
        """The position of each (slot, choice) in ``choices``."""
        return {each: index for index, each in enumerate(self.choices)}

    def nothing(self) -> State:
        """The state in which all is whole."""
        return np.zeros(len(self.slots), np.intp)

    def chosen(self, state: State, slot: int, choice: int) -> State:
        """``state`` with another choice in ``slot``; what conflicts with it becomes whole again."""
        changed = state.copy()
        if choice:
            changed[self.conflicts[slot]] = 0
        changed[slot] = choice
        return changed

    def selection(self, state: State) -> Selection:
        """The same, by names."""
        pairs = [(slot, int(choice)) for slot, choice in zip(self.slots, state, strict=True) if choice]
        return Selection(
            {slot.name: slot.kept[choice - 1] for slot, choice in pairs if not slot.branch},
            frozenset(slot.name for slot, _ in pairs if slot.branch),
        )

    def state(self, selection: Selection) -> State:
        """The state of a selection of these options."""
        found = self.nothing()
        for index, slot in enumerate(self.slots):
            if slot.branch:
                found[index] = int(slot.name in selection.dropped)
            elif slot.name in selection.kept:
                found[index] = slot.kept.index(selection.kept[slot.name]) + 1
        return found

    def where(self, keep: Callable[[int], bool]) -> "Options":
        """Without the single options (positions in ``choices``) that ``keep`` refuses; the slots stay."""
        kept: list[list[int]] = [[] for _ in self.slots]
        for index, (slot, choice) in enumerate(self.choices):
            if keep(index):
                kept[slot].append(self.slots[slot].kept[choice - 1])
        slots = tuple(Slot(slot.name, tuple(left), slot.branch) for slot, left in zip(self.slots, kept, strict=True))
        return Options(slots, self.conflicts, self.parents)

    def smallest(self) -> State:
        """The state with the least of everything: branches dropped, the outermost first, and groups at their last."""
        state = self.nothing()
        order = sorted(range(len(self.slots)), key=lambda slot: (not self.slots[slot].branch, self._depth(slot), slot))
        for slot in order:
            if self.slots[slot].kept and not state[self.conflicts[slot]].any():
                state[slot] = len(self.slots[slot].kept)
        return state

    def _depth(self, slot: int) -> int:
        return 0 if self.parents[slot] < 0 else 1 + self._depth(self.parents[slot])


def find_options(groups: ChannelGroups, branches: Sequence[Branch], channel_multiple: int) -> Options:
    """The options of a model: groups in the graph's order, then branches."""
    slots = [
        *(Slot(group.name, kept_units(group, channel_multiple)) for group in groups.groups),
        *(Slot(branch.name, (0,), branch=True) for branch in branches),
    ]
    first = len(groups.groups)
    inside = np.zeros((len(slots), len(slots)), np.bool_)
    for index, branch in enumerate(branches):
        inside[first + index, :first] = [group.name in branch.groups for group in groups.groups]
        inside[first + index, first:] = [other.nodes < branch.nodes for other in branches]
    either = inside | inside.T
    adds = np.array([branch.add for branch in branches])
    either[first:, first:] |= (adds[:, None] == adds[None, :]) & ~np.eye(len(branches), dtype=np.bool_)
    return Options(tuple(slots), either, tuple(_smallest_around(inside, slot) for slot in range(len(slots))))


def kept_units(group: ChannelGroup, channel_multiple: int) -> tuple[int, ...]:
    """How many units may stay, descending: eighths of the channels in multiples of ``channel_multiple``.

    Fewer choices for residual streams, and none for groups of one multiple.
    """
    shares = _FEW if is_stream(group) else _EIGHTHS
    counts = (nearest_units(group, share / 8, channel_multiple) for share in shares)
    return tuple(dict.fromkeys(count for count in counts if count < len(group.units)))


def nearest_units(group: ChannelGroup, share: float, channel_multiple: int) -> int:
    """So many units that their channels are the multiple nearest to ``share``, one multiple at least."""
    unit = group.unit_channels
    step = channel_multiple * unit // math.gcd(channel_multiple, unit)
    return min(max(round(group.channels * share / step), 1) * step // unit, len(group.units))


def is_stream(group: ChannelGroup) -> bool:
    """Whether several layers make the channels and several read them: changing them changes much at once."""
    return min(len(group.producers), len(group.consumers)) > 1


def _smallest_around(inside: NDArray[np.bool_], slot: int) -> int:
    """The branch that holds ``slot`` and no other branch that holds it."""
    around = np.flatnonzero(inside[:, slot])
    return next((int(one) for one in around if not inside[one, around].any()), -1)
