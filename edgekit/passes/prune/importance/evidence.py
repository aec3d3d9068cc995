"""What importances are made of, and sums over the units of each group."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.passes.prune.groups.channels import ChannelGroup, ChannelGroups
from edgekit.passes.prune.network import Sample

Scores = NDArray[np.float64]
"""[units of a group], higher is kept."""
Order = NDArray[np.intp]
Place = tuple[str, int]
"""A value's name and one of its axes."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The canonical float model and its groups; ``samples``, iterable more than once, or None.

    ``scales``: of ``bn_scale.batch_norm_scales``, read before the model was made canonical.
    """

    model: ir.Model
    channels: ChannelGroups
    samples: Iterable[Sample] | None = None
    scales: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    seed: int = 0


class UnitSums:
    """Adds numbers per index of an axis to the units that have these indices."""

    def __init__(self, channels: ChannelGroups) -> None:
        self._axes = channels.axes
        self._groups = channels.groups
        self._owner = np.full(channels.unit_count + 1, -1, np.intp)  # Its last entry is that of no unit: -1.
        self._position = np.zeros(channels.unit_count + 1, np.intp)
        self._index = {group.name: index for index, group in enumerate(channels.groups)}
        for index, group in enumerate(channels.groups):
            self._owner[list(group.units)] = index
            self._position[list(group.units)] = np.arange(len(group.units))

    def groups_at(self, place: Place) -> list[ChannelGroup]:
        """The groups that have indices there."""
        owners = self._owner[self._axes[place]] if place in self._axes else np.empty(0, np.intp)
        return [self._groups[index] for index in np.unique(owners[owners >= 0])]

    def total(self, group: ChannelGroup, place: Place, numbers: NDArray[np.float64]) -> Scores:
        """Sums of ``numbers`` [indices of the place] for each of the group's units."""
        labels = self._axes[place]
        ours = self._owner[labels] == self._index[group.name]
        return np.bincount(self._position[labels[ours]], numbers[ours], len(group.units)).astype(np.float64)

    def mean(self, group: ChannelGroup, place: Place, numbers: NDArray[np.float64]) -> Scores:
        """Likewise, means; 0 where a unit has no index there."""
        counts = self.total(group, place, np.ones(len(numbers)))
        return self.total(group, place, numbers) / np.maximum(counts, 1.0)

    def products(
        self, left: Place, sent: NDArray[np.float64], right: Place, met: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Per unit the mean of ``sent`` times the sum of ``met``; what is in no unit counts as one."""
        sender, reader = self._axes[left] + 1, self._axes[right] + 1
        size = len(self._owner)
        counts = np.bincount(sender, minlength=size)
        return np.bincount(sender, sent, size) / np.maximum(counts, 1) * np.bincount(reader, met, size)


def powers(array: NDArray[Any], axis: int, power: int) -> NDArray[np.float64]:
    """Sums of ``|array| ** power`` over all axes but one."""
    others = tuple(other for other in range(array.ndim) if other != axis)
    # Squares of float16 overflow at 256, sums of them sooner.
    return np.asarray((np.abs(array.astype(np.float64)) ** power).sum(axis=others))


def normalized(scores: Scores) -> Scores:
    """As shares of the units' mean, so that layers of any scale count alike; zeros where all are zero."""
    mean = scores.mean()
    return scores / mean if mean > 0 else np.zeros_like(scores)
