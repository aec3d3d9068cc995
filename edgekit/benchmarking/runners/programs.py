"""A runtime's benchmark program on a device: sent, started with its libraries, blamed when it fails."""

import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, isfinite

from edgekit.benchmarking.executors import Completed, Executor
from edgekit.benchmarking.runners import Limits, Workload
from edgekit.benchmarking.statistics import median
from edgekit.benchmarking.tools import local_program
from edgekit.errors import DeviceError, ModelError, ProfileError
from edgekit.profiles.device import Device
from edgekit.profiles.runner import RunnerProfile

_CHECK_S = 30.0
_MESSAGE = 300

_SETTLED = 0.02
_WINDOW_RUNS, _WINDOW_MS = 5, 50.0
_SLOW_WINDOW_RUNS, _SLOW_MS = 2, 1000.0


@dataclass(frozen=True, slots=True)
class Program:
    """A program on a device: ``path`` there, and the folders of the libraries that it is linked with."""

    name: str
    path: str
    library_folders: tuple[str, ...] = ()

    def command(self, *arguments: str) -> list[str]:
        """How it is started."""
        return [*self.environment, self.path, *arguments]

    @property
    def environment(self) -> list[str]:
        """What is put in front, so that it finds its libraries."""
        folders = ":".join(self.library_folders)
        return ["env", f"LD_LIBRARY_PATH={folders}"] if folders else []

    def failed(self, completed: Completed, expected: str) -> DeviceError:
        """The error for a run that failed or whose output is not understood, with the program's last words."""
        how = f"failed with exit code {completed.exit_code}" if completed.exit_code else "said nothing of any time"
        return DeviceError(f"{self.name} {how}: {_last_words(completed)}; expected {expected}")

    def refused(self, completed: Completed, model: str) -> ModelError:
        """The error for a model that the runtime does not take."""
        words = _last_words(completed)
        return ModelError(f"{model}: {self.name} refuses it: {words}; expected a file that it runs: export it again")


def send_program(executor: Executor, device: Device, format_name: str, kind: str) -> Program:
    """Make the program that the profile names ready on the device.

    Raises ProfileError when the profile names none, DeviceError when it is not there, or not for this device.
    """
    profile = device.runners.get(format_name, RunnerProfile(kind))
    libraries = [path for path in profile.libraries if not path.is_file()]
    where = profile.where(format_name, str(device.path or device.name))
    if libraries:
        raise ProfileError(f'{where} "libraries": no file {libraries[0]}')
    folders = [posixpath.dirname(executor.push(path, keep=True)) for path in profile.libraries]
    if profile.remote is None:
        path = executor.push(local_program(device, format_name, profile), executable=True, keep=True)
    else:
        path = profile.remote
        if executor.run(["sh", "-c", '[ -x "$0" ]', path], timeout=_CHECK_S).exit_code != 0:
            raise DeviceError(f'{device.name}: {path} is no program there; correct "remote" in {where}')
    return Program(kind, path, tuple(dict.fromkeys(folders)))


class RunCounts:
    """For programs that take a number of runs but no time: how many runs the limits allow.

    ``measure`` gives the mean time in milliseconds of a few runs in a process of their own; after that each trial's
    mean is learnt.
    """

    def __init__(self, measure: Callable[[Workload], float]) -> None:
        self._measure = measure
        self._mean_ms: dict[str, float] = {}

    def runs(self, workload: Workload) -> int:
        """How many runs the next trial shall do."""
        if workload.model not in self._mean_ms:
            self.learn(workload, self._measure(workload))
        return allowed_runs(workload.limits, self._mean_ms[workload.model] / 1000)

    def learn(self, workload: Workload, mean_ms: float) -> None:
        """Remember how long one run took."""
        self._mean_ms[workload.model] = mean_ms


def allowed_runs(limits: Limits, seconds: float) -> int:
    """``min_runs``, or more until ``min_s``, but not longer than ``max_s`` when one run takes so many ``seconds``."""
    wanted = max(limits.min_runs, ceil(limits.min_s / seconds))
    return max(1, min(wanted, int(limits.max_s / seconds)))


def time_of(text: str | None) -> float | None:
    """A time that a program printed, in its unit; None for none, or for no number, or for nothing at all (0)."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if isfinite(value) and value > 0 else None


def find(pattern: str, text: str) -> str | None:
    """The first group of the last match of ``pattern``, at the start of a line or after its log prefix."""
    matches: Sequence[str] = re.findall(pattern, text, re.MULTILINE)
    return matches[-1] if matches else None


def settled_from(times_ms: Sequence[float]) -> int | None:
    """The first of the runs that are not warm-up any more, by the rule of protocol.py.

    The medians of the window that it begins and of the next one differ by less than 2 %. A window has at least 5 runs
    (2 when they take more than a second) and 50 ms. It is the number of runs when they never settle, None when they
    are too few to tell.
    """
    windows = _windows(times_ms)
    for first, second in pairwise(windows):
        before, after = median(times_ms[first]), median(times_ms[second])
        if abs(after - before) < _SETTLED * before:
            return int(first.start)
    return len(times_ms) if len(windows) > 1 else None


def _windows(times_ms: Sequence[float]) -> list[slice]:
    windows, start = [], 0
    for end in range(1, len(times_ms) + 1):
        times = times_ms[start:end]
        least = _WINDOW_RUNS if sum(times) / len(times) <= _SLOW_MS else _SLOW_WINDOW_RUNS
        if len(times) >= least and sum(times) >= _WINDOW_MS:
            windows.append(slice(start, end))
            start = end
    return windows


def _last_words(completed: Completed) -> str:
    lines = [line.strip() for line in f"{completed.stdout}\n{completed.stderr}".splitlines() if line.strip()]
    # The first complaint is the cause; those after it are its consequences.
    complaint = next((line for line in lines if re.match(r"(ERROR|FATAL|F |E |CANNOT LINK)|.*\berror\b", line)), None)
    words = complaint or (lines[-1] if lines else "it wrote nothing")
    return words[:_MESSAGE]
