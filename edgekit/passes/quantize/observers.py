"""Observers: what is remembered of a value's numbers, and the range that follows from it.

Both are sums, minima and maxima of integers and exact numbers, so the order of the samples cannot change them.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgekit.passes.quantize.qparams import QUANT_MAX, QUANT_MIN, FloatArray

# Numbers of one sample that enter the histogram; the extremes are taken over all of them.
HISTOGRAM_SAMPLES = 4096
# Bins are the upper 15 bits of a float32: sign, exponent and 6 bits of mantissa, 1.6 % wide wherever the numbers lie.
_SHIFT = 17
BINS = 1 << (32 - _SHIFT)
# Clipping below a quarter of the range never paid at 8 bits.
_FRACTIONS = np.linspace(1.0, 0.25, 76)


def _bin_centers() -> NDArray[np.float64]:
    """The middle of each bin; the two bins of zero (denormals included) stand for 0, those of NaN and infinity too."""
    low = np.arange(BINS, dtype=np.uint32) << _SHIFT
    exponent = (low >> 23) & 0xFF
    middle = np.where(exponent == 0xFF, 0, low | (1 << (_SHIFT - 1))).astype(np.uint32)
    return np.where((low & 0x7FFFFFFF) == 0, 0.0, middle.view(np.float32).astype(np.float64))


_CENTERS = _bin_centers()


@dataclass(frozen=True, slots=True)
class Observed:
    """What one sample shows of one value: its extremes, and the histogram bins of evenly spread numbers."""

    minimum: float
    maximum: float
    bins: NDArray[np.uint32]

    @classmethod
    def of(cls, array: FloatArray) -> "Observed":
        """Observe one array; one without elements shows 0."""
        flat = np.ascontiguousarray(array, np.float32).reshape(-1)
        if flat.size == 0:
            return cls(0.0, 0.0, np.empty(0, np.uint32))
        # An odd step does not fall in step with the power-of-two sizes that rows and channels have.
        sampled = np.ascontiguousarray(flat[:: (flat.size // HISTOGRAM_SAMPLES) | 1])
        return cls(
            float(flat.min()), float(flat.max()), (sampled.view(np.uint32) >> np.uint32(_SHIFT)).astype(np.uint32)
        )


@dataclass(slots=True)
class Observer:
    """Extremes and histogram of one value over all samples; a constant amount of memory (128 KiB)."""

    minimum: float = np.inf
    maximum: float = -np.inf
    counts: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(BINS, np.uint32))

    def update(self, observed: Observed) -> None:
        """Add one sample."""
        self.minimum = min(self.minimum, observed.minimum)
        self.maximum = max(self.maximum, observed.maximum)
        np.add.at(self.counts, observed.bins, np.uint32(1))

    def merged(self, other: "Observer") -> "Observer":
        """What one observer of both values would have seen."""
        return Observer(min(self.minimum, other.minimum), max(self.maximum, other.maximum), self.counts + other.counts)

    @classmethod
    def of(cls, array: FloatArray) -> "Observer":
        """The observer of a constant."""
        observer = cls()
        observer.update(Observed.of(array))
        return observer


def minmax_range(observer: Observer) -> tuple[float, float]:
    """The extremes, widened to hold 0."""
    return min(observer.minimum, 0.0), max(observer.maximum, 0.0)


def mse_range(observer: Observer) -> tuple[float, float]:
    """The range around 0 with the least expected squared error of rounding and clipping together.

    Rounding costs step²/12 for each number that is neither 0, which has a code of its own, nor saturated; a number
    beyond an end costs its squared distance to it. Both ends are searched, each over fractions of its extreme, so a
    mass of numbers at an extreme (a ReLU6 at 6) holds the range there by itself. Compare Banner et al. 2019, "Post
    training 4-bit quantization of convolutional networks for rapid-deployment" (arXiv:1810.05723), section 3.
    """
    low, high = minmax_range(observer)
    occupied = np.flatnonzero(observer.counts)
    # In units of the range: squares of very large or small numbers stay finite.
    unit = max(high - low, float(np.finfo(np.float32).tiny))
    numbers = np.clip(_CENTERS[occupied], low, high) / unit
    weights = observer.counts[occupied].astype(np.float64)
    lows = low / unit * _FRACTIONS if low < 0 else np.zeros(1)
    highs = high / unit * _FRACTIONS if high > 0 else np.zeros(1)
    steps = (highs[None, :] - lows[:, None]) / (QUANT_MAX - QUANT_MIN)
    below, above = _clipping(-numbers, weights, -lows), _clipping(numbers, weights, highs)
    rounded = weights[numbers != 0].sum() - below[1][:, None] - above[1][None, :]
    errors = below[0][:, None] + above[0][None, :] + steps**2 / 12 * rounded
    i, j = divmod(int(errors.argmin()), len(highs))
    return float(lows[i] * unit), float(highs[j] * unit)


def _clipping(
    numbers: NDArray[np.float64], weights: NDArray[np.float64], ends: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each of ``ends``: the summed squared error of the numbers beyond it, and how many those are."""
    beyond = np.maximum(numbers[None, :] - ends[:, None], 0.0)
    return beyond**2 @ weights, (beyond > 0) @ weights
