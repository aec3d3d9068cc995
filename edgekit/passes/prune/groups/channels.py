"""Which channels must go together: the result of the analysis in this package, as plain data.

The idea is that of Fang et al. 2023, "DepGraph: Towards Any Structural Pruning" (arXiv:2301.12900), here on single
channels instead of whole layers: every index along a removable axis of every value belongs to a *unit*, and the indices
of one unit can only be removed together.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Units = NDArray[np.intp]
"""Unit ids, one per index of an axis; -1 where the index is never removed."""


@dataclass(frozen=True, slots=True)
class WeightUse:
    """A node whose constant input has a group's channels along ``axis``; ``weight`` is the initializer's name."""

    node: str
    weight: str
    axis: int


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that may be removed one unit at a time.

    ``name`` is that of the first node that makes them. ``units`` are their ids in the first producer's order.
    ``channels``: how many channels that producer makes; a unit has ``channels // len(units)`` of them (more than one
    for attention heads and the blocks of a grouped convolution). ``producers`` make the channels (their weight's axis
    is an output axis), ``consumers`` sum over them. Both in the graph's order. A node with a depthwise weight is
    neither.
    """

    name: str
    units: tuple[int, ...]
    channels: int
    producers: tuple[WeightUse, ...]
    consumers: tuple[WeightUse, ...]

    @property
    def unit_channels(self) -> int:
        """Channels of the first producer in one unit."""
        return self.channels // len(self.units)


@dataclass(frozen=True, slots=True)
class WholeChannels:
    """Channels that are left as they are: the node that makes them, how many, and why in one sentence."""

    node: str
    channels: int
    reason: str


@dataclass(frozen=True, slots=True)
class ChannelGroups:
    """All groups of a model.

    ``axes``: units along every axis, of every value (initializers included), that has any; keys are (value name, axis).
    Axes that are missing are never touched. ``unit_count``: units are 0 .. unit_count - 1, each in one group.
    ``whole``: what was left whole, and why. ``unzeroed``: constants (in ``axes``) that lose their elements, but must
    not be set to zero instead: something is divided by them.

    What is no constant in this sense (the targets of a Reshape, the sizes of a Split, the indices of a Gather, the
    bounds of a Slice, the repeats of a Tile, the shape of an Expand, the sizes of a Resize, the group of a convolution,
    the num_groups of a GroupNormalization, pads) is not in ``axes``: it follows from the units around the node.
    Two units of one group occur equally often along every axis, and along the same ones: as long as a group keeps one
    unit, no axis that it is on becomes empty, and what an axis loses depends only on how many units are left.
    """

    axes: Mapping[tuple[str, int], Units]
    unit_count: int
    groups: tuple[ChannelGroup, ...]
    whole: tuple[WholeChannels, ...]
    unzeroed: frozenset[str] = frozenset()

    def of(self, name: str) -> ChannelGroup:
        """The group called ``name``; KeyError when there is none."""
        return next((group for group in self.groups if group.name == name), None) or _missing(name)


def _missing(name: str) -> ChannelGroup:
    raise KeyError(name)
