"""What a search may choose from: for each group how many units stay, for each residual branch whether it is dropped."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgekit.passes.prune.branches import Branch
from edgekit.passes.prune.groups import ChannelGroup, ChannelGroups, WeightUse
from edgekit.passes.prune.selection import Selection

State = NDArray[np.intp]
"""[slots]: what is chosen in each slot; 0 leaves it whole, n is its n-th choice."""

_EIGHTHS = (7, 6, 5, 4, 3, 2, 1)
_FEW = (7, 6, 4)


@dataclass(frozen=True, slots=True)
class Slot:
    """One decision. ``kept``: its choices, descending, units of the group ``name``; (0,) drops the branch ``name``.

    ``units`` of the group, of which any number that is ``step`` or a multiple of it more than a choice may stay too.
    """

    name: str
    kept: tuple[int, ...]
    branch: bool = False
    units: int = 0
    step: int = 1


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
        slots = tuple(replace(slot, kept=tuple(left)) for slot, left in zip(self.slots, kept, strict=True))
        return Options(slots, self.conflicts, self.parents)

    def smallest(self, cost: Callable[[Selection], float]) -> State:
        """The state that costs least: groups by themselves, then branches, the innermost first, beside them.

        Of the terms of one sum the one is dropped that leaves less, with the other at its own least.
        """
        state = self.nothing()
        order = sorted(range(len(self.slots)), key=lambda slot: (self.slots[slot].branch, -self._depth(slot), slot))
        done: set[int] = set()
        for slot in (slot for slot in order if slot not in done):
            rivals = self._rivals(slot)
            done.update(rivals)
            states = [self.chosen(state, one, choice) for one in rivals for choice in self._descending(one)]
            state = min([*states, state], key=lambda each: cost(self.selection(each)))
        return state

    def _rivals(self, slot: int) -> list[int]:
        """The slot and, of a branch, the other term of its sum."""
        if not self.slots[slot].branch:
            return [slot]
        beside = (int(other) for other in np.flatnonzero(self.conflicts[slot]) if self.slots[other].branch)
        return [slot, *(other for other in beside if not self._is_inside(slot, other))]

    def _is_inside(self, one: int, other: int) -> bool:
        """Whether one of the two slots lies in the other."""
        return bool(self._around(one) & {other} or self._around(other) & {one})

    def _around(self, slot: int) -> set[int]:
        parent = self.parents[slot]
        return set() if parent < 0 else {parent} | self._around(parent)

    def _descending(self, slot: int) -> range:
        """Its choices, the smallest network first."""
        return range(len(self.slots[slot].kept), 0, -1)

    def _depth(self, slot: int) -> int:
        return 0 if self.parents[slot] < 0 else 1 + self._depth(self.parents[slot])


def find_options(groups: ChannelGroups, branches: Sequence[Branch], channel_multiple: int) -> Options:
    """The options of a model: groups in the graph's order, then branches."""
    slots = [
        *(_slot(groups, group, channel_multiple) for group in groups.groups),
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


def _slot(groups: ChannelGroups, group: ChannelGroup, channel_multiple: int) -> Slot:
    kept = kept_units(groups, group, channel_multiple)
    return Slot(group.name, kept, units=len(group.units), step=steps(groups, group, channel_multiple).step)


@dataclass(frozen=True, slots=True)
class Steps:
    """The numbers of a group's units that may stay: all in 1 .. ``units`` - 1 that are ``offset`` modulo ``step``."""

    units: int
    step: int
    offset: int

    def nearest(self, share: float) -> int:
        """The number nearest to a share of the units; all of them where that is nearer."""
        first = self.offset or self.step
        found = self.offset + round((self.units * share - self.offset) / self.step) * self.step
        return min(max(found, first), self.units)


def steps(groups: ChannelGroups, group: ChannelGroup, channel_multiple: int) -> Steps:
    """How many units of a group may stay.

    A layer whose channels (in or out, with those of other groups and those that never go) are a multiple of
    ``channel_multiple`` keeps that: what it loses is a multiple too, of each group. A layer that makes the channels of
    this group only, in another number, gets a multiple. Where readers leave no choice they are not asked.
    """
    units = len(group.units)
    made = [_Axis.of(groups, group, use) for use in group.producers]
    read = [_Axis.of(groups, group, use) for use in group.consumers]
    aligned = [axis for axis in made if axis.length % channel_multiple == 0]
    alone = [axis for axis in made if axis.length % channel_multiple and axis.is_alone]
    period = _period(group.unit_channels, channel_multiple)
    for kept_whole in ([*aligned, *(axis for axis in read if axis.length % channel_multiple == 0)], aligned):
        step = math.lcm(1, *(_period(axis.each, channel_multiple) for axis in kept_whole))
        for others in (alone, alone[:1]) if alone or kept_whole else ():
            both = math.lcm(step, *(_period(axis.each, channel_multiple) for axis in others))
            for kept in range(units - step, 0, -step):
                if all((axis.length - (units - kept) * axis.each) % channel_multiple == 0 for axis in others):
                    return Steps(units, both, kept % both)
        if kept_whole and step < units:
            return Steps(units, step, units % step)
    return Steps(units, period, units % period)


def kept_units(groups: ChannelGroups, group: ChannelGroup, channel_multiple: int) -> tuple[int, ...]:
    """How many units may stay, descending: those of ``steps`` nearest to eighths.

    Fewer choices for residual streams, and none for groups of one multiple.
    """
    allowed = steps(groups, group, channel_multiple)
    counts = (allowed.nearest(share / 8) for share in (_FEW if is_stream(group) else _EIGHTHS))
    return tuple(dict.fromkeys(count for count in counts if count < len(group.units)))


def misaligned(groups: ChannelGroups, selection: Selection, channel_multiple: int) -> dict[str, tuple[int, int]]:
    """The nodes whose channels are no longer a multiple of ``channel_multiple``: how many they were, and are."""
    lost = {
        unit: 1
        for group in groups.groups
        for unit in group.units[: len(group.units) - selection.kept.get(group.name, len(group.units))]
    }
    found = {}
    for use in (use for group in groups.groups for use in (*group.producers, *group.consumers)):
        labels = groups.axes[use.weight, use.axis]
        after = len(labels) - sum(lost.get(unit, 0) for unit in labels.tolist())
        if after % channel_multiple and not len(labels) % channel_multiple:
            found[use.node] = (len(labels), after)
    return found


@dataclass(frozen=True, slots=True)
class _Axis:
    """An axis of a weight: its ``length``, of which ``each`` are of one unit; ``is_alone``: no other group is on it."""

    length: int
    each: int
    is_alone: bool

    @classmethod
    def of(cls, groups: ChannelGroups, group: ChannelGroup, use: WeightUse) -> "_Axis":
        labels = groups.axes[use.weight, use.axis]
        own = int(np.isin(labels, group.units).sum())
        return cls(len(labels), max(1, own // len(group.units)), own == int((labels >= 0).sum()))


def _period(each: int, channel_multiple: int) -> int:
    """So many units have a multiple of the channels."""
    return channel_multiple // math.gcd(channel_multiple, each)


def is_stream(group: ChannelGroup) -> bool:
    """Whether several layers make the channels and several read them: changing them changes much at once."""
    return min(len(group.producers), len(group.consumers)) > 1


def _smallest_around(inside: NDArray[np.bool_], slot: int) -> int:
    """The branch that holds ``slot`` and no other branch that holds it."""
    around = np.flatnonzero(inside[:, slot])
    return next((int(one) for one in around if not inside[one, around].any()), -1)
