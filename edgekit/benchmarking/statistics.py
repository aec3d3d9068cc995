"""Medians, percentiles, spread, and the confidence interval of a ratio. All times in milliseconds.

Percentiles are of type 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages" (The American Statistician,
1996): linear between the order statistics, as numpy and R do by default. The interval is the percentile bootstrap of
Efron, "Bootstrap Methods: Another Look at the Jackknife" (The Annals of Statistics, 1979).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

CONFIDENCE_PERCENT = 95.0
RESAMPLES = 10_000
_SEED = 20_240_229


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle ones."""
    return float(np.median(np.asarray(values, np.float64)))


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which ``percent`` of the values lie (Hyndman and Fan, type 7)."""
    return float(np.percentile(np.asarray(values, np.float64), percent, method="linear"))


def coefficient_of_variation(values: Sequence[float]) -> float | None:
    """Standard deviation (of n - 1) over mean; None for fewer than two values or a mean of 0."""
    array = np.asarray(values, np.float64)
    if array.size < 2 or array.mean() == 0:
        return None
    return float(array.std(ddof=1) / array.mean())


def pooled_coefficient_of_variation(
    counts: Sequence[int], means: Sequence[float], deviations: Sequence[float]
) -> float | None:
    """That of all values together, from each group's count, mean and standard deviation: their variances within and
    between the groups add up."""
    weights, centers, spreads = (np.asarray(each, np.float64) for each in (counts, means, deviations))
    total = weights.sum()
    if total < 2:
        return None
    mean = float((weights * centers).sum() / total)
    variance = float((weights * (spreads**2 + (centers - mean) ** 2)).sum() / total)
    return math.sqrt(variance) / mean if mean else None


def ratio(rounds: Sequence[float], baseline: Sequence[float]) -> float:
    """The median of the ratios of each round: what slowed both down in one round cancels out there."""
    return float(np.median(_ratios(rounds, baseline)))


def ratio_interval(rounds: Sequence[float], baseline: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % confidence interval of :func:`ratio`, over rounds; None for fewer than two.

    Resampling whole rounds keeps each pair together and does not take the runs of one process for independent ones.
    The random numbers are always the same: the same times give the same interval.
    """
    ratios = _ratios(rounds, baseline)
    if ratios.size < 2:
        return None
    picks = np.random.default_rng(_SEED).integers(0, ratios.size, (RESAMPLES, ratios.size))
    medians = np.median(ratios[picks], axis=1)
    tail = (100 - CONFIDENCE_PERCENT) / 2
    low, high = np.percentile(medians, [tail, 100 - tail])
    return float(low), float(high)


def _ratios(rounds: Sequence[float], baseline: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(rounds, np.float64) / np.asarray(baseline, np.float64)
