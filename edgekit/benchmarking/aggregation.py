"""From trials to results: what the runs of all rounds say together."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from edgekit.benchmarking.results import Result, State
from edgekit.benchmarking.runners import OpTime, Trial
from edgekit.benchmarking.schedule import Schedule
from edgekit.benchmarking.statistics import (
    Pool,
    median,
    pooled_coefficient_of_variation,
    ratio,
    ratio_interval,
)
from edgekit.benchmarking.subjects import Subject

_Fact = TypeVar("_Fact", int, str)

RUNS = "runs"
ROUND_MEDIANS = "round medians"
ROUND_MEANS = "round means"

KEPT_RUNS = 5_000
"""Of one round: an hour of a fast artifact has more than the memory."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one artifact over its rounds, in milliseconds; see :class:`edgekit.benchmarking.results.Result`."""

    runs: int
    statistic: str
    median_ms: float
    p90_ms: float | None
    p99_ms: float | None
    cv: float | None


@dataclass(slots=True)
class Measured:
    """What the trials of one artifact said, by round. ``figures`` are those of all of them."""

    subject: Subject
    trials: dict[int, Trial] = field(default_factory=dict)
    figures: Figures | None = None
    profile: tuple[OpTime, ...] = ()

    def add(self, number: int, trial: Trial) -> None:
        """Take the trial of a round; a repeated one replaces the first.

        Of very many runs every n-th stands for the others, in the order in which they ran: a sample of their times.
        """
        self.trials[number] = _sampled(trial)
        self.figures = aggregate(list(self.trials.values()))


@dataclass(slots=True)
class Conditions:
    """The device's state; and by round, by how many times the probe was slower afterwards, and whether it throttled.

    A round that is not in ``throttled``, or is with None, is one of which that is not known.
    """

    before: State
    after: State
    slowdowns: dict[int, float] = field(default_factory=dict)
    throttled: dict[int, bool | None] = field(default_factory=dict)


def aggregate(trials: Sequence[Trial]) -> Figures:
    """The figures of at least one trial: of all runs where the program told them, else of the rounds' own figures.

    Every round counts alike, however many runs it has: as in the ratio, which is of rounds.
    """
    runs, statistic = sum(trial.runs for trial in trials), _statistic(trials)
    if statistic == RUNS:
        pool = Pool.of([trial.times_ms for trial in trials])
        middle, p90, p99 = (pool.percentile(percent) for percent in (50, 90, 99))
        return Figures(runs, statistic, middle, p90, p99, pool.coefficient_of_variation())
    return Figures(
        runs,
        statistic,
        median([_middle(trial, statistic) for trial in trials]),
        median_of(trials, lambda trial: trial.p90_ms),
        median_of(trials, lambda trial: trial.p99_ms),
        _pooled_cv(trials),
    )


def to_results(measured: Sequence[Measured], conditions: Conditions, schedule: Schedule) -> tuple[Result, ...]:
    """The results of the artifacts that have a trial; the first artifact is what the ratios are to."""
    return tuple(
        _result(each, each.figures, _ratios(each, measured[0]), conditions, schedule)
        for each in measured
        if each.figures is not None
    )


def median_of(trials: Sequence[Trial], figure: Callable[[Trial], float | None]) -> float | None:
    """The median over the rounds of a figure that every round has, else None."""
    values = [value for value in map(figure, trials) if value is not None]
    return median(values) if values and len(values) == len(trials) else None


def _result(
    measured: Measured,
    figures: Figures,
    ratios: tuple[float, tuple[float, float] | None],
    conditions: Conditions,
    schedule: Schedule,
) -> Result:
    subject, trials = measured.subject, list(measured.trials.values())
    throttled = _throttled([conditions.throttled.get(number) for number in measured.trials])
    settled = [trial.settled for trial in trials if trial.settled is not None]
    memory = [trial.peak_memory_bytes for trial in trials if trial.peak_memory_bytes is not None]
    return Result(
        path=str(subject.artifact.path),
        sha256=subject.artifact.sha256,
        bytes=subject.artifact.bytes,
        runtime=subject.prepared.runtime,
        runner=subject.prepared.name,
        delegate=subject.delegate,
        threads=schedule.threads,
        cores=schedule.cores,
        rounds=len(trials),
        runs=figures.runs,
        statistic=figures.statistic,
        median_ms=figures.median_ms,
        p90_ms=figures.p90_ms,
        p99_ms=figures.p99_ms,
        cv=figures.cv,
        ratio=ratios[0],
        ratio_ci=ratios[1],
        load_ms=median_of(trials, lambda trial: trial.load_ms),
        first_ms=median_of(trials, lambda trial: trial.first_ms),
        peak_memory_bytes=max(memory, default=None),
        throttled=throttled,
        valid=not throttled and len(trials) == schedule.rounds and 2 * settled.count(False) <= len(trials),
        state=conditions.before,
        state_after=conditions.after,
        accelerated_ops=_last(trial.accelerated_ops for trial in trials),
        total_ops=_last(trial.total_ops for trial in trials),
        runtime_version=_last(trial.runtime_version for trial in trials),
        profile=measured.profile,
        round_medians_ms=tuple(_middle(trial, figures.statistic) for trial in trials),
        slowdown=max(conditions.slowdowns.values(), default=None),
        settled=all(settled) if settled else None,
    )


def _throttled(rounds: Sequence[bool | None]) -> bool | None:
    """One throttled round is enough; to say that none is, all must be known."""
    return True if True in rounds else None if None in rounds else False


def _ratios(measured: Measured, baseline: Measured) -> tuple[float, tuple[float, float] | None]:
    """The ratio and its interval, over the rounds that both have; means to means where one tells no more."""
    common = [number for number in measured.trials if number in baseline.trials]
    pairs = [(measured.trials[number], baseline.trials[number]) for number in common]
    statistic = _statistic([trial for pair in pairs for trial in pair])
    mine, others = ([_middle(pair[side], statistic) for pair in pairs] for side in (0, 1))
    return ratio(mine, others), ratio_interval(mine, others)


def _sampled(trial: Trial) -> Trial:
    """With at most KEPT_RUNS times; its median stays that of all."""
    step = math.ceil(len(trial.times_ms) / KEPT_RUNS)
    if step <= 1:
        return trial
    return replace(trial, times_ms=trial.times_ms[::step], median_ms=median(trial.times_ms))


def _statistic(trials: Sequence[Trial]) -> str:
    if all(trial.times_ms for trial in trials):
        return RUNS
    return ROUND_MEDIANS if all(trial.times_ms or trial.median_ms is not None for trial in trials) else ROUND_MEANS


def _middle(trial: Trial, statistic: str) -> float:
    """What stands for one round: the median of its runs, or their mean where that is all there is."""
    if statistic == ROUND_MEANS:
        return trial.mean_ms
    return trial.median_ms if trial.median_ms is not None else median(trial.times_ms)


def _last(facts: Iterable[_Fact | None]) -> _Fact | None:
    return next((fact for fact in reversed(list(facts)) if fact is not None), None)


def _pooled_cv(trials: Sequence[Trial]) -> float | None:
    deviations = [trial.std_ms for trial in trials if trial.std_ms is not None]
    if len(deviations) < len(trials) or sum(trial.runs for trial in trials) < 2:
        return None
    return pooled_coefficient_of_variation([trial.mean_ms for trial in trials], deviations)
