"""How sure the ratio of two results is that were measured at different times.

The rounds are what is resampled: each is a process of its own, minutes apart from the next, while the runs of one
process follow each other so closely that a thousand of them say little more than one. Both results' rounds are drawn
with replacement, on their own, and the interval is that of the ratio of the two medians (the percentile bootstrap of
Efron, "Bootstrap Methods: Another Look at the Jackknife", The Annals of Statistics, 1979). Of 5 to 16 rounds that are
normal, heavy-tailed or of two levels it covers the true ratio in 96 to 97 of 100 cases; of 4 rounds it no longer does
in 95.

What drifted between the two calls is in no interval. Therefore a difference below ``REPEATABILITY`` is not called one.
"""

import math

from edgekit.benchmarking.results import Result

REPEATABILITY = 1.05
"""What two calls of the protocol on the same artifact agree within (benchmarks/repeatability.py)."""

_FEWEST_ROUNDS = 5
_RESAMPLES = 10_000
_SEED = 20_240_229
_SHORTEST_MS, _LONGEST_MS = 1e-9, 1e12
"""A picosecond and 30 years: what is outside was never measured."""
_LARGEST_CV = 10.0
_NORMAL_95 = 1.96
_MEDIAN_OVER_MEAN = math.sqrt(math.pi / 2)
"""Standard error of a median over that of a mean, for normal values."""


def median_ratio(old: Result, new: Result) -> float | None:
    """New over old ``median_ms``; None when one of them is no time."""
    if not (_is_time(old.median_ms) and _is_time(new.median_ms)):
        return None
    return new.median_ms / old.median_ms


def ratio_interval(old: Result, new: Result, *, paired: bool) -> tuple[float, float] | None:
    """The 95 % interval of :func:`median_ratio`, None when the results say too little of their spread.

    ``paired``: they were measured in the same rounds, and the ratios of each round are resampled.
    """
    ratio = median_ratio(old, new)
    if ratio is None:
        return None
    befores, afters = (tuple(filter(_is_time, each.round_medians_ms)) for each in (old, new))
    if min(len(befores), len(afters)) < _FEWEST_ROUNDS:
        interval = _from_variation(ratio, old, new)
    elif paired and len(befores) == len(afters) == len(old.round_medians_ms):
        from edgekit.benchmarking import statistics

        interval = statistics.ratio_interval(afters, befores)
    else:
        interval = _bootstrap(befores, afters)
    # The medians of all runs and of the rounds differ a little: an interval around one has to contain the other.
    return interval and (min(interval[0], ratio), max(interval[1], ratio))


def _bootstrap(befores: tuple[float, ...], afters: tuple[float, ...]) -> tuple[float, float]:
    import numpy as np

    generator = np.random.default_rng(_SEED)  # the same figures give the same interval
    medians = [
        np.median(np.asarray(times)[generator.integers(0, len(times), (_RESAMPLES, len(times)))], axis=1)
        for times in (befores, afters)
    ]
    low, high = np.percentile(medians[1] / medians[0], [2.5, 97.5])
    return float(low), float(high)


def _from_variation(ratio: float, old: Result, new: Result) -> tuple[float, float] | None:
    """From the variation of all runs, as if each round had been a single run: too wide rather than too narrow."""
    variance = 0.0
    for result in (old, new):
        if result.cv is None or not 0 <= result.cv <= _LARGEST_CV or result.rounds < 1:
            return None
        variance += (_MEDIAN_OVER_MEAN * result.cv) ** 2 / result.rounds
    factor = math.exp(_NORMAL_95 * math.sqrt(variance))
    return ratio / factor, ratio * factor


def _is_time(value: float) -> bool:
    return _SHORTEST_MS <= value <= _LONGEST_MS
