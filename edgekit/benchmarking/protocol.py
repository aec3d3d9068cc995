"""What is run in which order.

Every artifact is measured once in every round, each time in a fresh process, and each round begins with another
artifact: what slows the device down for a while hits all alike, and the ratio of two artifacts within one round is free
of it. A process warms up until its median has settled: the medians of two consecutive windows differ by less than 2 %
(edgekit's runners see to that). A window is at least 5 runs and 50 ms, or 2 runs of a model that takes more than
200 ms. Warm-up ends after its time at the latest, but not before two windows: 4 runs of a slow model. After each round
the probe tells whether the device has throttled; if it has, it cools down and the round is measured again.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from edgekit.benchmarking.aggregation import Conditions, Measured, to_results
from edgekit.benchmarking.cores import pinned
from edgekit.benchmarking.executors import Executor
from edgekit.benchmarking.probe import MAXIMUM_SLOWDOWN, Probe
from edgekit.benchmarking.results import Journal, Report
from edgekit.benchmarking.runners import Trial, Workload
from edgekit.benchmarking.schedule import Schedule
from edgekit.benchmarking.state import snapshot
from edgekit.benchmarking.subjects import Subject
from edgekit.progress import Progress

MAXIMUM_COOL_DOWNS = 3
"""Of one round. A device that is still throttled then is measured to the end, and its figures are not valid."""

MAXIMUM_WAITS = 8
"""Of all rounds together: a device that throttles again and again would keep a farm waiting for an hour."""


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
    if schedule.profile:
        session.measure_profiles()
    report = session.report(complete=True)
    observers.journal(report)
    return report


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
            if not self._has_throttled(number):
                throttled.discard(number)
                return
            throttled.add(number)
            self._recovers = self._recovers and attempt < MAXIMUM_COOL_DOWNS and self._cool_down()
            if not self._recovers:
                return

    def measure_profiles(self) -> None:
        """One more trial of each artifact that times its operations, which makes it slower: it counts for no figure."""
        with self._observers.progress.stage("timing each operation", len(self._measured)) as advance:
            for measured in self._measured:
                measured.profile = self._run(measured.subject, profile=True).profile
                advance(1)

    def report(self, *, complete: bool = False) -> Report:
        """The draft with the results so far."""
        results = to_results(self._measured, self._conditions, self._schedule)
        return replace(self._draft, results=results, complete=complete)

    def _run_round(self, number: int) -> None:
        start = number % len(self._measured)
        order = (*self._measured[start:], *self._measured[:start])
        description = f"round {number + 1} of {self._schedule.rounds} on {self._executor.facts.name}"
        with self._observers.progress.stage(description, len(order)) as advance:
            for measured in order:
                self._run_trial(number, measured)
                advance(1)

    def _run_trial(self, number: int, measured: Measured) -> None:
        trial = self._observers.inspector.complete(measured.subject, self._run(measured.subject))
        measured.add(number, trial)
        self._observers.journal(self.report())
        self._observers.inspector.check(measured.subject, trial)

    def _run(self, subject: Subject, *, profile: bool = False) -> Trial:
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
        )
        command = pinned(subject.prepared.command(workload), schedule.cores)
        return subject.prepared.parse(self._executor.run(command, timeout=schedule.timeout_s), workload)

    def _has_throttled(self, number: int) -> bool:
        self._conditions.after = snapshot(self._executor, self._schedule.cores)
        slowdown = self._slowdown()
        if slowdown is not None:
            self._conditions.slowdowns[number] = slowdown
        return slowdown is not None and slowdown > MAXIMUM_SLOWDOWN

    def _slowdown(self) -> float | None:
        return None if self._probe is None else self._probe.slowdown()

    def _cool_down(self) -> bool:
        """Wait until the device is as fast as before; False when it does not recover."""
        seconds = self._schedule.cool_down_s
        for _ in range(min(MAXIMUM_COOL_DOWNS, MAXIMUM_WAITS - self._waits)):
            self._waits += 1
            with self._observers.progress.stage(f"throttled: {self._executor.facts.name} cools down for {seconds:g} s"):
                time.sleep(seconds)
            slowdown = self._slowdown()
            if slowdown is None or slowdown <= MAXIMUM_SLOWDOWN:
                return True
        return False
