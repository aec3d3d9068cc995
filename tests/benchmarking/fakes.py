"""A device and a program that measure nothing: what they say is decided by the test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.benchmarking.executors import Completed, DeviceFacts
from edgekit.benchmarking.probe import PROBE_SCRIPT
from edgekit.benchmarking.results import Report
from edgekit.benchmarking.runners import Limits, Trial, Workload
from edgekit.benchmarking.schedule import Schedule
from edgekit.benchmarking.state import STATE_SCRIPT
from edgekit.benchmarking.subjects import Artifact, Subject
from edgekit.errors import DeviceError

LIMITS = Limits(warmup_s=1.0, min_runs=4, min_s=0.1, max_s=1.0)


@dataclass
class FakeExecutor:
    """Answers the probe with ``probe_seconds`` (one per question, the last one for ever; None: with nothing).

    ``thermal`` are Android's thermal statuses, likewise. ``asked`` is what was asked for, ``timeouts`` of programs.
    """

    facts: DeviceFacts = field(
        default_factory=lambda: DeviceFacts("fake", "local", cores=(0, 1, 2, 3), maximum_mhz=(1.0, 1.0, 2.0, 2.0))
    )
    probe_seconds: list[float | None] = field(default_factory=lambda: [0.1])
    thermal: list[int | None] = field(default_factory=lambda: [None])
    asked: list[str] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)
    dies_after: int | None = None
    commands: list[list[str]] = field(default_factory=list)
    folder: str = "/fake"

    def push(self, path: Path, *, executable: bool = False, keep: bool = False) -> str:
        return str(path)

    def run(self, command: Sequence[str], *, timeout: float) -> Completed:
        if PROBE_SCRIPT in command:
            self.asked.append("probe")
            return self._probe(command)
        if STATE_SCRIPT in command:
            self.asked.append("state")
            status = self.thermal.pop(0) if len(self.thermal) > 1 else self.thermal[0]
            thermal = "" if status is None else f"thermalservice=Thermal Status: {status}\n"
            return Completed(0, f"load={len(self.programs)}.0\n{thermal}end=state\n", "")
        self.asked.append("run")
        self.timeouts.append(timeout)
        if self.dies_after is not None and len(self.programs) >= self.dies_after:
            raise DeviceError("fake: unplugged")
        self.commands.append(list(command))
        return Completed(0, "", "")

    def pull(self, remote: str, local: Path) -> None:
        raise AssertionError("nothing is to be copied")

    @property
    def programs(self) -> list[str]:
        """The models that were run, in order."""
        return [command[-1] for command in self.commands if "measure" in command]

    def _probe(self, command: Sequence[str]) -> Completed:
        seconds = self.probe_seconds.pop(0) if len(self.probe_seconds) > 1 else self.probe_seconds[0]
        if seconds is None:
            return Completed(0, "", "")
        end = round(1e9 * seconds)
        return Completed(0, f"probe=0 {end}\n" * int(command[-1]) + "clock=date\n", "")


@dataclass
class FakeProgram:
    """A prepared program; ``trial`` says what it finds, given the workload and how often it ran before."""

    trial: Callable[[Workload, int], Trial]
    name: str = "fake"
    runtime: str = "litert"
    workloads: list[Workload] = field(default_factory=list)

    def command(self, workload: Workload) -> Sequence[str]:
        return ["measure", workload.model]

    def parse(self, completed: Completed, workload: Workload) -> Trial:
        self.workloads.append(workload)
        return self.trial(workload, len(self.workloads) - 1)


@dataclass
class Watcher:
    """Keeps what the protocol tells, and lets everything pass."""

    reports: list[Report] = field(default_factory=list)

    def __call__(self, report: Report) -> None:
        self.reports.append(report)

    def complete(self, subject: Subject, trial: Trial) -> Trial:
        return trial

    def check(self, subject: Subject, trial: Trial) -> None:
        pass


def trial(*times_ms: float) -> Trial:
    """A trial with these runs."""
    return Trial(runs=len(times_ms), mean_ms=sum(times_ms) / len(times_ms), times_ms=times_ms)


def artifact(name: str = "a.tflite", **facts: object) -> Artifact:
    """An artifact without a file."""
    return Artifact(Path(name), Path(name).suffix[1:], "0" * 64, 1000, **facts)  # type: ignore[arg-type]


def subject(name: str, program: FakeProgram, delegate: str | None = "xnnpack") -> Subject:
    """An artifact without a file, with a fake program."""
    return Subject(artifact(name), program, name, delegate)


def schedule(rounds: int = 4, cool_down_s: float = 0.0, profile: bool = False) -> Schedule:
    """Few rounds, on two cores, without waiting."""
    return Schedule(2, (2, 3), cool_down_s, rounds, LIMITS, profile)


def draft(executor: FakeExecutor) -> Report:
    """A report without results."""
    return Report("run", "2024-02-29T00:00:00+00:00", executor.facts, (), {})
