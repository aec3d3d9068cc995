"""With which program an artifact is measured: edgekit's own runners, or a runtime's benchmark binary.

A runner turns a workload into a command and the command's output into a trial; it does not know where it runs. One
trial is one fresh process. To add a runner, write ``runners/<name>.py`` with an object ``RUNNER`` of the
:class:`Runner` protocol and a row in ``_MODULES``.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from edgekit.benchmarking.executors import Completed, Executor
from edgekit.profiles.device import Device

_MODULES = {
    "edgekit": "edgekit.benchmarking.runners.native",
    "python": "edgekit.benchmarking.runners.python",
    "benchmark_model": "edgekit.benchmarking.runners.benchmark_model",
    "MNNV2Basic": "edgekit.benchmarking.runners.mnnv2basic",
    "onnxruntime_perf_test": "edgekit.benchmarking.runners.onnxruntime_perf_test",
}

RUNNERS = tuple(_MODULES)
"""The names of all runners, as ``[runners.<format>] kind`` of a device profile says them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When one process has measured enough, in seconds and runs.

    Warm-up ends when the median has settled (see protocol.py), after ``warmup_s`` as a rule. Then it measures until
    (``min_runs`` and ``min_s`` are both reached) or ``max_s`` or ``max_runs`` is: a program that tells each run keeps
    them all in memory. Programs that tell only aggregates need no ``max_runs`` and take none.
    """

    warmup_s: float
    min_runs: int
    min_s: float
    max_s: float
    max_runs: int = 200_000


@dataclass(frozen=True, slots=True)
class Workload:
    """What to measure. ``delegate`` is xnnpack, gpu, nnapi or none for TFLite; for MNN a backend (OPENCL) and for ONNX
    an execution provider (NnapiExecutionProvider) when it is not the CPU, else None.

    ``model`` is its path on the device, ``label`` what the user calls it (errors name it). ``cores`` are pinned; empty:
    none are. ``profile`` asks for the time of each operation, which makes the run itself slower. ``precision`` is what
    the artifact's manifest says, None when there is none: MNN must be told that weights of int8 are to be calculated
    with in int8.
    """

    format: str
    model: str
    threads: int
    limits: Limits
    delegate: str | None = None
    cores: tuple[int, ...] = ()
    profile: bool = False
    precision: str | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class OpTime:
    """The time of one operation of the file per inference; ``node`` is its name in the file.

    edgekit's runners leave the slowest and the fastest tenth of the runs out of the mean. Operations inside a Loop or
    an If are a part of it.
    """

    op: str
    node: str
    mean_ms: float
    accelerated: bool | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What one process measured; times in milliseconds, None is what the program does not tell.

    ``times_ms`` has every timed run where the program tells them, else it is empty and ``runs``, ``median_ms`` and the
    other aggregates are the program's own. ``mean_ms`` is always there.
    """

    runs: int
    mean_ms: float
    times_ms: tuple[float, ...] = ()
    median_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    std_ms: float | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    warmup_runs: int | None = None
    settled: bool | None = None
    peak_memory_bytes: int | None = None
    accelerated_ops: int | None = None
    total_ops: int | None = None
    partitions: int | None = None
    runtime_version: str | None = None
    profile: tuple[OpTime, ...] = ()


class Runner(Protocol):
    """One measuring program. ``name`` is its key in RUNNERS; ``formats`` are the file formats that it runs."""

    name: str
    formats: tuple[str, ...]

    def prepare(self, executor: Executor, device: Device, format_name: str) -> "Prepared":
        """Find or build the program and its libraries for the device and push them.

        Raises DeviceError when they are not for the device's ABI, ProfileError when the profile names what is not
        there, DependencyError when something must be installed first.
        """
        ...


class Prepared(Protocol):
    """A program that is ready on the device."""

    name: str
    """The runner that it is of, a key of RUNNERS; a runner may hand over to another one."""

    runtime: str
    """The engine: litert, mnn or onnxruntime."""

    def command(self, workload: Workload) -> Sequence[str]:
        """The command of one trial."""
        ...

    def parse(self, completed: Completed, workload: Workload) -> Trial:
        """What the program found. Raises DeviceError with its last words when it failed or is not understood."""
        ...


def find_runner(name: str) -> Runner:
    """The runner called ``name``."""
    return cast(Runner, importlib.import_module(_MODULES[name]).RUNNER)
