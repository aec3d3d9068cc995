"""What is run in which order.

Every artifact is measured once in every round, each time in a fresh process: what slows the device down for a while
hits all alike, and the ratio of two artifacts within one round is free of it. The orders of the rounds are balanced
(see :func:`order_of_round`): each artifact runs equally often in each place and right after each other one, whose heat
it inherits.

A process warms up until its median has settled: the medians of two consecutive windows differ by less than 2 %
(edgekit's runners see to that). A window is at least 5 runs and 50 ms, or 2 runs of a model that takes more than
200 ms. Warm-up ends after its time at the latest, but not before two windows: 4 runs of a slow model.

Right after each round, before anything else lets the device rest, the probe tells whether it has throttled; then
Android's thermal status does, which knows of more than the processor. If it has, it cools down and the round is
measured again.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from edgekit.benchmarking.aggregation import Conditions, Measured, to_results
from edgekit.benchmarking.cores import pinned
from edgekit.benchmarking.executors import Executor
from edgekit.benchmarking.probe import MAXIMUM_SLOWDOWN, Probe
from edgekit.benchmarking.results import MODERATE, Journal, Report
from edgekit.benchmarking.runners import Trial, Workload
from edgekit.benchmarking.schedule import Schedule
from edgekit.benchmarking.state import snapshot
from edgekit.benchmarking.subjects import Subject
from edgekit.errors import DeviceError
from edgekit.progress import Progress

MAXIMUM_COOL_DOWNS = 3
"""Of one round. A device that is still throttled then is measured to the end, and its figures are not valid."""

MAXIMUM_WAITS = 8
"""Of all rounds together: a device that throttles again and again would keep a farm waiting for an hour."""


_log = logging.getLogger("edgekit")


class Inspector(Protocol):
    """Judges how artifacts run."""

    def complete(self, subject: Subject, trial: Trial) -> Trial:
        """``trial`` with what its program does not tell, where that is known otherwise."""
        ...

    def check(self, subject: Subject, trial: Trial) -> None:
        """Raises GateError for an artifact that does not run as was promised; its trial is journalled by then."""
        ...


@dataclass(frozen=True, slots=True)
class Observers:
    """Who is told while it measures."""

    journal: Journal
    inspector: Inspector
    progress: Progress


def measure(
    executor: Executor, subjects: Sequence[Subject], schedule: Schedule, draft: Report, observers: Observers
) -> Report:
    """Measure ``subjects`` and return ``draft`` with their results, in this order; the first one is the baseline.

    Raises DeviceError when the device or a program fails, and GateError when an artifact does not run as promised.
    """
    with observers.progress.stage(f"probing {executor.facts.name}"):
        session = _Session(executor, subjects, schedule, draft, observers)
    for number in range(schedule.rounds):
        session.measure_round(number)
    report = session.report(complete=True)
    observers.journal(report)
    if schedule.profile and session.measure_profiles():
        report = session.report(complete=True)
        observers.journal(report)
    return report


def order_of_round(number: int, count: int) -> tuple[int, ...]:
    """In which order ``count`` artifacts run in a round: the rows of a Williams design.

    Within ``count`` rounds (twice as many when it is odd) each artifact runs equally often in each place, and equally
    often right after each other one; Williams, "Experimental designs balanced for the estimation of residual effects of
    treatments" (Australian Journal of Scientific Research, 1949). When ``count`` is odd, every second round is the
    mirror image of the one before.
    """
    row = [place // 2 + 1 if place % 2 else -place // 2 for place in range(count)]  # 0, 1, -1, 2, -2, ...
    shift, mirrored = divmod(number, 2) if count % 2 else (number, 0)
    order = tuple((each + shift) % count for each in row)
    return order[::-1] if mirrored else order


class _Session:
    """One measurement: what it has found so far."""

    def __init__(
        self, executor: Executor, subjects: Sequence[Subject], schedule: Schedule, draft: Report, observers: Observers
    ) -> None:
        self._executor = executor
        self._schedule = schedule
        self._draft = draft
        self._observers = observers
        self._measured = [Measured(subject) for subject in subjects]
        state = snapshot(executor, schedule.cores)
        self._conditions = Conditions(state, state)
        self._probe = Probe.calibrated(executor, schedule.cores, schedule.threads)
        self._recovers = True
        self._waits = 0

    def measure_round(self, number: int) -> None:
        """One trial of each artifact; once more after cooling down when the device throttled meanwhile."""
        throttled = self._conditions.throttled
        for attempt in range(MAXIMUM_COOL_DOWNS + 1):
            self._run_round(number)
            if not throttled[number]:
                return
            self._recovers = self._recovers and attempt < MAXIMUM_COOL_DOWNS and self._cool_down()
            if not self._recovers:
                return

    def measure_profiles(self) -> bool:
        """One more trial of each artifact that times its operations, which makes it slower: it counts for no figure.

        False, with a warning, when that fails: the figures are complete without it.
        """
        with self._observers.progress.stage("timing each operation", len(self._measured)) as advance:
            for measured in self._measured:
                timeout = self._schedule.profile_timeout_s(measured.figures.median_ms if measured.figures else 0.0)
                try:
                    measured.profile = self._run(measured.subject, timeout, profile=True).profile
                except DeviceError as error:
                    _log.warning("operations are not timed: %s", error)
                    return False
                advance(1)
        return True

    def report(self, *, complete: bool = False) -> Report:
        """The draft with the results so far."""
        results = to_results(self._measured, self._conditions, self._schedule)
        return replace(self._draft, results=results, complete=complete)

    def _run_round(self, number: int) -> None:
        order = [self._measured[position] for position in order_of_round(number, len(self._measured))]
        description = f"round {number + 1} of {self._schedule.rounds} on {self._executor.facts.name}"
        with self._observers.progress.stage(description, len(order)) as advance:
            for measured in order:
                self._run_trial(number, measured, is_last=measured is order[-1])
                advance(1)

    def _run_trial(self, number: int, measured: Measured, *, is_last: bool) -> None:
        subject, inspector = measured.subject, self._observers.inspector
        trial = inspector.complete(subject, self._run(subject, self._schedule.timeout_s))
        measured.add(number, trial)
        try:
            if is_last:
                self._judge_round(number)
        finally:
            self._observers.journal(self.report())
        inspector.check(subject, trial)

    def _judge_round(self, number: int) -> None:
        slowdown, self._conditions.throttled[number] = self._look()
        self._conditions.slowdowns.pop(number, None)
        if slowdown is not None:
            self._conditions.slowdowns[number] = slowdown

    def _run(self, subject: Subject, timeout_s: float, *, profile: bool = False) -> Trial:
        schedule = self._schedule
        workload = Workload(
            format=subject.artifact.format,
            model=subject.remote,
            threads=schedule.threads,
            limits=schedule.limits,
            delegate=subject.delegate,
            cores=schedule.cores,
            profile=profile,
            precision=subject.artifact.precision,
            label=str(subject.artifact.path),
        )
        command = pinned(subject.prepared.command(workload), schedule.cores)
        return subject.prepared.parse(self._executor.run(command, timeout=timeout_s), workload)

    def _look(self) -> tuple[float | None, bool | None]:
        """By how many times the probe is slower, and whether the device has throttled; None is not known.

        The probe first: what the snapshot asks takes seconds, in which a device cools down.
        """
        slowdown = None if self._probe is None else self._probe.slowdown()
        self._conditions.after = snapshot(self._executor, self._schedule.cores)
        if self._is_hot or (slowdown is not None and slowdown > MAXIMUM_SLOWDOWN):
            return slowdown, True
        return slowdown, None if slowdown is None else False

    @property
    def _is_hot(self) -> bool:
        """Whether Android throttles, also what the probe does not see (GPU, NPU)."""
        before, after = self._conditions.before.thermal_status or 0, self._conditions.after.thermal_status or 0
        return after >= MODERATE or after > before

    def _cool_down(self) -> bool:
        """Wait until the device is as fast as before; False when it does not recover, or cannot tell."""
        seconds = self._schedule.cool_down_s
        for _ in range(min(MAXIMUM_COOL_DOWNS, MAXIMUM_WAITS - self._waits)):
            self._waits += 1
            with self._observers.progress.stage(f"throttled: {self._executor.facts.name} cools down for {seconds:g} s"):
                time.sleep(seconds)
            if self._look()[1] is False:
                return True
        return False
