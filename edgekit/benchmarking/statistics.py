"""Medians, percentiles, spread, and the confidence interval of a ratio. All times in milliseconds.

Percentiles are of type 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages" (The American Statistician,
1996): linear between the order statistics, as numpy and R do by default. Those of several rounds count every round
alike, by the weighted type 7 of Akinshin, "Weighted quantile estimators" (arXiv:2304.07265, 2023). The interval is the
percentile bootstrap of Efron, "Bootstrap Methods: Another Look at the Jackknife" (The Annals of Statistics, 1979).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

CONFIDENCE_PERCENT = 95.0
RESAMPLES = 10_000
LEAST_ROUNDS = 5
"""For an interval: the bootstrap of fewer is narrower than the truth."""

_Array = np.ndarray[Any, np.dtype[np.float64]]
_SEED = 20_240_229


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle ones."""
    return float(np.median(np.asarray(values, np.float64)))


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which ``percent`` of the values lie (Hyndman and Fan, type 7)."""
    return float(np.percentile(np.asarray(values, np.float64), percent, method="linear"))


@dataclass(frozen=True, slots=True)
class Pool:
    """The values of several rounds, ascending; each weighs 1 / (values of its round), so that every round counts alike.

    A round that lasts a fixed time has more values the faster they are: unweighted, the fast rounds would decide.
    """

    values: _Array
    weights: _Array

    @classmethod
    def of(cls, rounds: Sequence[Sequence[float]]) -> Self:
        """The pool of rounds that have values."""
        values = np.concatenate([np.asarray(each, np.float64) for each in rounds])
        weights = np.concatenate([np.full(len(each), 1 / (len(each) * len(rounds))) for each in rounds])
        order = np.argsort(values, kind="stable")
        return cls(values[order], weights[order])

    def percentile(self, percent: float) -> float:
        """The value below which ``percent`` of the weight lies.

        Type 7 is the mean of the step function of the sorted values over a window of the width 1/n; here the steps are
        as wide as the weights, and n is the size that they are worth. Of equal weights it is type 7 itself.
        """
        if self._is_even:
            return percentile(self.values, percent)  # type: ignore[arg-type]
        size = self._size
        start = percent / 100 * (size - 1) / size
        ends = np.cumsum(self.weights)
        shares = np.diff(np.clip((ends / ends[-1] - start) * size, 0, 1), prepend=0.0)
        inside = np.flatnonzero(shares)
        least = self.values[inside[0]]  # equal values stay what they are
        return float(least + (shares[inside] * (self.values[inside] - least)).sum())

    def coefficient_of_variation(self) -> float | None:
        """Standard deviation (n - 1, where n is the size that the weights are worth) over mean.

        None for fewer than two values or a mean of 0.
        """
        mean = float(np.average(self.values, weights=self.weights))
        if self.values.size < 2 or mean == 0:
            return None
        variance = float(np.average((self.values - mean) ** 2, weights=self.weights))
        return math.sqrt(variance * self._size / (self._size - 1)) / mean

    @property
    def _size(self) -> float:
        """Kish's effective sample size."""
        return float(self.weights.sum() ** 2 / (self.weights**2).sum())

    @property
    def _is_even(self) -> bool:
        return bool(self.weights.min() == self.weights.max())


def pooled_coefficient_of_variation(means: Sequence[float], deviations: Sequence[float]) -> float | None:
    """That of all values together, from each round's mean and standard deviation; every round counts alike.

    The variances within and between the rounds add up. None for a mean of 0.
    """
    centers, spreads = np.asarray(means, np.float64), np.asarray(deviations, np.float64)
    mean = float(centers.mean())
    return math.sqrt(float((spreads**2).mean() + centers.var())) / mean if mean else None


def ratio(rounds: Sequence[float], baseline: Sequence[float]) -> float:
    """The median of the ratios of each round: what slowed both down in one round cancels out there."""
    return float(np.median(_ratios(rounds, baseline)))


def ratio_interval(rounds: Sequence[float], baseline: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % confidence interval of :func:`ratio`, over rounds; None for fewer than LEAST_ROUNDS.

    Resampling whole rounds keeps each pair together and does not take the runs of one process for independent ones.
    The random numbers are always the same: the same times give the same interval.
    """
    ratios = _ratios(rounds, baseline)
    if ratios.size < LEAST_ROUNDS:
        return None
    picks = np.random.default_rng(_SEED).integers(0, ratios.size, (RESAMPLES, ratios.size))
    medians = np.median(ratios[picks], axis=1)
    tail = (100 - CONFIDENCE_PERCENT) / 2
    low, high = np.percentile(medians, [tail, 100 - tail])
    return float(low), float(high)


def _ratios(rounds: Sequence[float], baseline: Sequence[float]) -> _Array:
    return np.asarray(rounds, np.float64) / np.asarray(baseline, np.float64)
