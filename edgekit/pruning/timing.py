"""How much faster one artifact is than another on this machine: both timed in turn, in fresh processes.

Each session starts both anew, as memory lies differently in each process, and times them in bursts, one after the
other and then the other way round: what slows the machine down for a while slows both. The figures are medians of
sessions, and the interval is the bootstrap over them (edgekit/benchmarking/statistics.py).
"""

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgekit.artifacts import StagedArtifact
from edgekit.benchmarking.statistics import median, ratio, ratio_interval
from edgekit.progress import Advance
from edgekit.runtimes import Array
from edgekit.runtimes.process import RuntimeProcess
from edgekit.verification.adaptation import to_artifact

Sample = Mapping[str, Array]

_MOST_RUNS = 2_000
"""Of one burst: a network of a microsecond would fill the pipe with its times."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how long: ``bursts`` of each artifact per session, each of ``burst_s`` and at least 3 runs.

    ``fastest``: the fastest burst of a session counts instead of their median: what disturbs only adds time.
    """

    sessions: int
    bursts: int
    burst_s: float
    fastest: bool = False


CAREFUL = Pace(sessions=7, bursts=2, burst_s=0.15)
"""For figures that are reported: enough sessions for an interval."""

SWIFT = Pace(sessions=1, bursts=5, burst_s=0.04, fastest=True)
"""For one of many figures that are added up."""


@dataclass(frozen=True, slots=True)
class Paired:
    """Two artifacts' medians in milliseconds; ``ratio`` is the second's time over the first's, of each session.

    ``ratio_ci``: its 95 % confidence interval; None for fewer than five sessions.
    """

    before_ms: float
    after_ms: float
    ratio: float
    ratio_ci: tuple[float, float] | None


class Stopwatch(Protocol):
    """What times artifacts; tests have one that need not wait."""

    def pair(self, before: StagedArtifact, after: StagedArtifact, pace: Pace, advance: Advance) -> Paired:
        """Time two artifacts of one format in turn; ``advance`` is told of each session."""
        ...


@dataclass(frozen=True, slots=True)
class RuntimeStopwatch:
    """Times artifacts in their runtimes on one ``sample`` of the source model, on so many ``threads``."""

    sample: Sample
    threads: int

    def pair(self, before: StagedArtifact, after: StagedArtifact, pace: Pace, advance: Advance) -> Paired:
        """Time two artifacts; raises GateError when one crashes."""
        sessions = []
        for _ in range(pace.sessions):
            sessions.append(self._session(before, after, pace))
            advance(1)
        first, second = [times[0] for times in sessions], [times[1] for times in sessions]
        return Paired(median(first), median(second), ratio(second, first), ratio_interval(second, first))

    def _session(self, before: StagedArtifact, after: StagedArtifact, pace: Pace) -> tuple[float, float]:
        with ExitStack() as stack:
            processes = [self._process(artifact) for artifact in (before, after)]
            for process in processes:  # both load at the same time
                stack.callback(process.close)
                process.start()
            timed = [
                _Timed(stack.enter_context(process), to_artifact(self.sample, artifact.interface))
                for process, artifact in zip(processes, (before, after), strict=True)
            ]
            for each in timed:
                each.warm_up(pace.burst_s)
            for number in range(pace.bursts):
                for each in timed if number % 2 == 0 else reversed(timed):
                    each.burst()
        statistic = min if pace.fastest else median
        return statistic(timed[0].medians), statistic(timed[1].medians)

    def _process(self, artifact: StagedArtifact) -> RuntimeProcess:
        return RuntimeProcess(
            artifact.format, artifact.staged_path, self.threads, label=artifact.path, precision=artifact.precision
        )


class _Timed:
    """One artifact in its process, and its times so far."""

    def __init__(self, process: RuntimeProcess, feeds: Sample) -> None:
        self._time: Callable[[int], Array] = lambda runs: process.time(feeds, runs)
        self._runs = 3
        self.medians: list[float] = []

    def warm_up(self, burst_s: float) -> None:
        """Run as long as a burst, and find out how many runs that is."""
        once_ms = float(self._time(3)[-1])
        runs = math.ceil(1000 * burst_s / max(once_ms, 1e-3))
        self._runs = min(max(runs, 3), _MOST_RUNS)
        once_ms = float(np.median(self._time(self._runs)))
        self._runs = min(max(math.ceil(1000 * burst_s / max(once_ms, 1e-3)), 3), _MOST_RUNS)

    def burst(self) -> None:
        """Run once more as long, and remember the median."""
        self.medians.append(float(np.median(self._time(self._runs))))
