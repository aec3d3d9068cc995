"""The samples in memory, and which of them judge."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.passes.recover.settings import RecoverySettings

Sample = Mapping[str, NDArray[Any]]
Batch = dict[str, NDArray[Any]]

MOST_BYTES = 1 << 30
"""Of more samples an even selection is kept."""

LEAST_HELD_BACK, MOST_HELD_BACK = 8, 1024
ROOTS_HELD_BACK = 2.0
"""Times the square root of the number of samples are held back at most: what judges well enough need not grow with what
is fitted, and every sample that trains counts (ResNet-8 at 30 %, top-1: 83.5 to 84.2 % with 819 of 1,024 images, 84.5 %
with 960)."""
_LEAST_SAMPLES = 2 * LEAST_HELD_BACK


@dataclass(frozen=True, slots=True)
class Dataset:
    """``arrays`` [samples, *shape] by input; ``labels`` [samples, rows of one sample] where known."""

    arrays: Batch
    labels: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def take(self, indices: NDArray[np.int64]) -> "Dataset":
        """These samples."""
        labels = None if self.labels is None else self.labels[indices]
        return Dataset({name: array[indices] for name, array in self.arrays.items()}, labels)


def collect(
    samples: Iterable[Sample], inputs: Sequence[str], labels: NDArray[np.int64] | None, most_bytes: int = MOST_BYTES
) -> Dataset:
    """All samples, or every second, fourth... when they are more than ``most_bytes``. Raises DataError."""
    kept: list[Sample] = []
    stride, count = 1, 0
    for count, sample in enumerate(samples, start=1):
        if (count - 1) % stride:
            continue
        kept.append({name: np.array(_array(sample, name, count - 1)) for name in inputs})
        if len(kept) * sum(array.nbytes for array in kept[0].values()) > most_bytes and len(kept) > _LEAST_SAMPLES:
            kept, stride = kept[::2], 2 * stride
    if len(kept) < _LEAST_SAMPLES:
        raise DataError(
            f"recovery: {len(kept)} samples; expected at least {_LEAST_SAMPLES}, of which {LEAST_HELD_BACK} are held "
            "back to judge: give more calibration samples, or leave recovery out"
        )
    arrays = {name: np.stack([sample[name] for sample in kept]) for name in inputs}
    return Dataset(arrays, None if labels is None else _rows(labels, count)[::stride])


def _array(sample: Sample, name: str, index: int) -> NDArray[Any]:
    if name not in sample:
        raise DataError(f"recovery: sample {index} has no array '{name}'; expected one for each input of the model")
    return sample[name]


def _rows(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    if len(labels) % count:
        raise DataError(f"recovery: {len(labels)} labels for {count} samples; expected one for each")
    return np.asarray(labels, np.int64).reshape(count, -1)


def held_back_indices(count: int, settings: RecoverySettings) -> NDArray[np.int64]:
    """Which of ``count`` samples judge: the settings' share, but `ROOTS_HELD_BACK` roots of ``count`` at most.

    Spread evenly, at least `LEAST_HELD_BACK`, at most `MOST_HELD_BACK`.
    For a start that has not seen them, build it from the others; see ``start`` of ``recover``.
    """
    share = min(count * settings.held_back, ROOTS_HELD_BACK * count**0.5)
    wanted = int(np.clip(round(share), LEAST_HELD_BACK, MOST_HELD_BACK))
    held = min(wanted, count // 2)
    return (np.arange(held, dtype=np.int64) * count + count // 2) // held


def split(dataset: Dataset, settings: RecoverySettings) -> tuple[Dataset, Dataset]:
    """What is fitted, and what judges."""
    held = held_back_indices(len(dataset), settings)
    fitted = np.setdiff1d(np.arange(len(dataset)), held)
    return dataset.take(fitted), dataset.take(held)
