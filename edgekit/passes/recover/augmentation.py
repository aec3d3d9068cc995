"""More samples from few, without labels: the teacher is asked about each changed input, so its answer is right for it.

Images are mirrored and shifted by up to an eighth, their edges repeated. Any two float inputs may be mixed
(Zhang et al. 2018, "mixup", arXiv:1710.09412; here only the inputs, since the teacher names the target).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.passes.recover.settings import RecoverySettings

Arrays = dict[str, NDArray[Any]]

_CHANNELS = (1, 3)
_LEAST_SIDE = 8
_SHIFT = 8
"""Shifts reach this part of a side."""


def image_axes(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Height and width of one sample [batch, ...] when it looks like images of 1 or 3 channels, in either layout."""
    if len(shape) != 4:
        return None
    for channels, axes in ((1, (2, 3)), (3, (1, 2))):
        if shape[channels] in _CHANNELS and min(shape[axis] for axis in axes) >= _LEAST_SIDE:
            return axes
    return None


class Augmentation:
    """Changes batches; the same seed and the same calls give the same changes."""

    def __init__(self, settings: RecoverySettings, rng: np.random.Generator) -> None:
        self._settings, self._rng = settings, rng

    def __call__(
        self, batch: Mapping[str, NDArray[Any]], targets: NDArray[np.float32] | None
    ) -> tuple[Arrays, NDArray[np.float32] | None]:
        """Changed inputs [samples, *shape], and ``targets`` [samples, rows, classes] mixed as they are."""
        count = len(next(iter(batch.values())))
        changed = {name: self._moved(array) for name, array in batch.items()}
        if not self._settings.mixing or any(not np.issubdtype(a.dtype, np.floating) for a in changed.values()):
            return changed, targets
        others = self._rng.permutation(count)
        # Half of the samples stay as they are.
        share = self._rng.uniform(0, 0.5, count).astype(np.float32) * (self._rng.random(count) < 0.5)
        mixed = {name: _mixed(array, others, share) for name, array in changed.items()}
        return mixed, None if targets is None else _mixed(targets, others, share)

    def _moved(self, array: NDArray[Any]) -> NDArray[Any]:
        axes = image_axes(array.shape[1:])
        if axes is None or not (self._settings.flips or self._settings.shifts):
            return array
        moved = np.empty_like(array)
        for index, sample in enumerate(array):
            rows, columns = (self._positions(sample.shape[axis]) for axis in axes)
            if self._settings.flips and self._rng.random() < 0.5:
                columns = columns[::-1]
            moved[index] = sample.take(rows, axis=axes[0]).take(columns, axis=axes[1])
        return moved

    def _positions(self, size: int) -> NDArray[np.int64]:
        reach = size // _SHIFT if self._settings.shifts else 0
        shift = int(self._rng.integers(-reach, reach + 1))
        return np.clip(np.arange(size) + shift, 0, size - 1)


def _mixed(array: NDArray[Any], others: NDArray[np.int64], share: NDArray[np.float32]) -> NDArray[Any]:
    weight = share.reshape(-1, *(1,) * (array.ndim - 1))
    return np.asarray((1 - weight) * array + weight * array[others], array.dtype)
