"""One figure over time, per artifact, runtime, threads and device: what a plot shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path

from edgekit.history.selection import Measurement, Run

METRICS = {
    "median_ms": "median latency (ms)",
    "p90_ms": "90th percentile of the latency (ms)",
    "peak_memory_bytes": "peak memory (MB)",
    "ratio": "latency over the run's first artifact",
}
"""What can be plotted, and the words for it."""

_UNITS = {"median_ms": " ms", "p90_ms": " ms", "peak_memory_bytes": " MB", "ratio": "x"}
_MEGABYTE = 1e6
_MOST_SERIES = 10
_LOG_FROM = 20.0
_HALF_WITH_MARGIN = 0.55
_LEAST_HALF = 0.05
_PATH_PARTS = 2
"""The target's folder and the file's name: an artifact stays the same when the output folder has another name."""


@dataclass(frozen=True, slots=True)
class Point:
    """The figure in one run: ``at`` is the run's place among all that are shown, from 0."""

    at: int
    value: float
    valid: bool


@dataclass(frozen=True, slots=True)
class Series:
    """One artifact's points, oldest first."""

    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """All series of a metric, those with the newest points first, and when each run started.

    ``left_out`` is how many more there are: more than a person can tell apart.
    """

    metric: str
    series: tuple[Series, ...]
    starts: tuple[datetime, ...]
    left_out: int = 0

    @property
    def title(self) -> str:
        """The words for the metric."""
        return METRICS[self.metric]

    @property
    def is_wide(self) -> bool:
        """Whether the values are too far apart for a linear axis."""
        values = [point.value for series in self.series for point in series.points]
        return min(values) > 0 and max(values) / min(values) > _LOG_FROM

    @property
    def limits(self) -> tuple[float, float]:
        """The ends of a linear axis: what two calls differ by anyway does not fill it."""
        values = [point.value for series in self.series for point in series.points]
        low, high = min(values), max(values)
        middle = (low + high) / 2
        half = max((high - low) * _HALF_WITH_MARGIN, abs(middle) * _LEAST_HALF) or 1.0
        return middle - half, middle + half

    def spell(self, value: float) -> str:
        """A value with its unit."""
        return f"{value:.4g}{_UNITS[self.metric]}"


def gather(runs: Sequence[Run], metric: str) -> Plot:
    """The series of ``metric`` in ``runs`` (newest first); runs where nothing was measured have no place."""
    measured = [run for run in reversed(runs) if any(_value(each, metric) is not None for each in run.measurements)]
    points: dict[str, list[Point]] = {}
    for at, run in enumerate(measured):
        for each in run.measurements:
            value = _value(each, metric)
            if value is not None:
                points.setdefault(_label(run, each), []).append(Point(at, value, each.valid))
    series = [Series(label, tuple(group)) for label, group in points.items()]
    series.sort(key=lambda one: (-one.points[-1].at, -len(one.points), one.label))
    return Plot(
        metric,
        tuple(series[:_MOST_SERIES]),
        tuple(run.started for run in measured),
        left_out=max(0, len(series) - _MOST_SERIES),
    )


def _value(measurement: Measurement, metric: str) -> float | None:
    value: float | None = getattr(measurement, metric)
    if value is None or not isfinite(value):
        return None
    return value / _MEGABYTE if metric == "peak_memory_bytes" else value


def _label(run: Run, each: Measurement) -> str:
    engine = f"{each.runtime}/{each.delegate}" if each.delegate else each.runtime
    threads = f"{each.threads} thread{'' if each.threads == 1 else 's'}"
    artifact = "/".join(Path(each.path).parts[-_PATH_PARTS:])
    return f"{artifact}, {engine}, {threads}, {run.device}"
