"""ONNX Runtime's ``onnxruntime_perf_test``: source of the forms ``onnxruntime/test/perftest`` of 1.0 to 1.24.

It writes the time of every run to a result file, which the command prints behind what the program says itself. It warms
up for one run; those that follow until the times have settled are left out. Where an execution provider is to run it, a
first process is profiled: nothing else tells that the provider took nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgekit.benchmarking.executors import Completed, Executor
from edgekit.benchmarking.runners import Trial, Workload
from edgekit.benchmarking.runners.programs import Program, RunCounts, find, send_program, settled_from, time_of
from edgekit.benchmarking.statistics import median, percentile
from edgekit.errors import GateError
from edgekit.profiles.device import Device

_FIRST_RUNS = 3
_FIRST_S = 600.0

_PROVIDERS: Mapping[str | None, tuple[str, ...]] = {
    None: (),
    "XnnpackExecutionProvider": ("-e", "xnnpack"),
    "NnapiExecutionProvider": ("-e", "nnapi"),
    "QNNExecutionProvider": ("-e", "qnn"),
    "CUDAExecutionProvider": ("-e", "cuda"),
}

_RESULTS = "edgekit: the result file"
_PROFILE = "edgekit: the profile"
_RESULT_FILE = "onnxruntime_perf_test.csv"
_PROFILE_PREFIX = "onnxruntime_perf_test_profile"
# $0 is the result file: the program appends to it. The profile's name gets the time.
_SCRIPT = (
    f'rm -f "$0" {_PROFILE_PREFIX}*; "$@" "$0"; code=$?; echo; echo "{_RESULTS}"; cat "$0" 2>/dev/null; '
    f'echo; echo "{_PROFILE}"; cat {_PROFILE_PREFIX}* 2>/dev/null; exit $code'
)
# An operation in the profile, which has each event on a line.
_NODE = re.compile(r'"name" *: *"([^"]*)_kernel_time".*"provider" *: *"(\w+)"')

_REFUSED = re.compile(
    r"Load model (?:from )?.*failed|Protobuf parsing failed|INVALID_(?:PROTOBUF|GRAPH)|[Ii]nvalid model|ModelProto"
    r"|Could not find an implementation for|is not a registered function|No Op registered for|Unsupported model IR"
)

_NUMBER = r"([-+.\deE]+)"
# model, time, peak working set, CPU usage, run
_ROW = re.compile(rf"^[^,\n]*,{_NUMBER},\d+,\d+,\d+$", re.MULTILINE)

_MS_PER_S = 1000.0
_MS_PER_NS = 1e-6


class OnnxRuntimePerfTest:
    """The runner; see :class:`edgekit.benchmarking.runners.Runner`."""

    name = "onnxruntime_perf_test"
    formats = ("onnx",)

    def prepare(self, executor: Executor, device: Device, format_name: str) -> "PreparedOnnxRuntimePerfTest":
        """Send the program that the profile names."""
        return PreparedOnnxRuntimePerfTest(executor, send_program(executor, device, format_name, self.name))


class PreparedOnnxRuntimePerfTest:
    """The program on the device."""

    name = "onnxruntime_perf_test"
    runtime = "onnxruntime"

    def __init__(self, executor: Executor, program: Program) -> None:
        self._executor = executor
        self._program = program
        self._counts = RunCounts(self._measure_first)
        self._taken: dict[str, int] = {}

    def command(self, workload: Workload) -> Sequence[str]:
        """The command of one trial; free dimensions are 1, inputs random."""
        return self._command(workload, min(self._counts.runs(workload), workload.limits.max_runs))

    def parse(self, completed: Completed, workload: Workload) -> Trial:
        """Every run's time where the result file is there, else what the program says of them."""
        said, _, results = completed.stdout.partition(_PROFILE)[0].partition(_RESULTS)
        said = f"{said}\n{completed.stderr}"
        mean = _mean_ms(said)
        runs = find(r"^(?:Total inference requests:|Total iterations:|Runs:) ?(\d+)", said)
        if completed.exit_code != 0 or mean is None or runs is None:
            completed = replace(completed, stdout=said, stderr="")
            if _REFUSED.search(said):
                raise self._program.refused(completed, workload.model)
            raise self._program.failed(completed, "a line like: Average inference time cost: … ms")
        self._counts.learn(workload, mean)
        peak = find(r"^Peak working set size: ?(\d+)", said)
        trial = Trial(
            runs=int(runs),
            mean_ms=mean,
            times_ms=_times_ms(results, mean, int(runs)),
            median_ms=_percentile_ms("P50", said),
            p90_ms=_percentile_ms("P90", said),
            p99_ms=_percentile_ms("P99", said),
            load_ms=_scaled(find(rf"^Session creation time cost: ?{_NUMBER} s", said), _MS_PER_S),
            first_ms=_scaled(find(rf"^First inference time cost: ?{_NUMBER} ms", said), 1.0),
            warmup_runs=1,
            peak_memory_bytes=int(peak) if peak and int(peak) else None,
            partitions=self._taken.get(workload.model),
        )
        return _without_warm_up(trial)

    def _command(self, workload: Workload, runs: int, *flags: str) -> list[str]:
        program = self._program.command(
            *flags,
            *("-m", "times", "-r", str(runs), "-x", str(workload.threads), "-I", "-s"),
            *_PROVIDERS[workload.delegate],
            workload.model,
        )
        return ["sh", "-c", _SCRIPT, _RESULT_FILE, *program]

    def _measure_first(self, workload: Workload) -> float:
        """Also what the execution provider takes: ONNX Runtime leaves the rest, or everything, to the CPU silently."""
        profiled = workload.delegate is not None
        flags = ("-p", _PROFILE_PREFIX) if profiled else ()
        completed = self._executor.run(self._command(workload, _FIRST_RUNS, *flags), timeout=_FIRST_S)
        mean = self.parse(completed, workload).mean_ms
        if profiled:
            self._taken[workload.model] = self._require_provider(completed.stdout, workload)
        return mean

    def _require_provider(self, stdout: str, workload: Workload) -> int:
        """How many nodes the execution provider ran; those that it made one of several count as one."""
        nodes = providers_of_nodes(stdout.partition(_PROFILE)[2])
        taken = sum(provider == workload.delegate for provider in nodes.values())
        if not taken:
            how = f"has run all {len(nodes)} nodes elsewhere" if nodes else "does not say what has run there"
            raise GateError(
                f"{workload.model}: expected {workload.delegate} to run it, but {self._program.name} {how}; "
                "choose --delegate none, or a device that has it"
            )
        return taken


def providers_of_nodes(profile: str) -> dict[str, str]:
    """Which execution provider ran each node of a profile of ONNX Runtime."""
    return dict(_NODE.findall(profile))


def _without_warm_up(trial: Trial) -> Trial:
    """Without the runs before it has settled, which the program times like the others."""
    first = settled_from(trial.times_ms)
    if first in (None, 0, trial.runs):
        return replace(trial, settled=None if first is None else first == 0)
    times = trial.times_ms[first:]
    return replace(
        trial,
        runs=len(times),
        times_ms=times,
        mean_ms=sum(times) / len(times),
        median_ms=median(times),
        p90_ms=percentile(times, 90),
        p99_ms=percentile(times, 99),
        warmup_runs=1 + first,
        settled=True,
    )


def _mean_ms(said: str) -> float | None:
    """Since 1.3 "Average inference time cost", before "Average time cost"."""
    return time_of(find(rf"^Average (?:inference )?time cost: ?{_NUMBER} ms", said))


def _percentile_ms(name: str, said: str) -> float | None:
    """Since 1.3 "P50 Latency: 0.0185 s", before "P50 Latency is 0.0185 sec"."""
    return _scaled(find(rf"^{name} Latency(?: is|:) ?{_NUMBER} ?s", said), _MS_PER_S)


def _scaled(text: str | None, factor: float) -> float | None:
    value = time_of(text)
    return None if value is None else value * factor


def _times_ms(results: str, mean_ms: float, runs: int) -> tuple[float, ...]:
    """The time of every run: in seconds, the oldest versions in nanoseconds, which the mean tells apart."""
    times = [time for time in map(time_of, _ROW.findall(results)) if time is not None]
    if len(times) != runs:
        return ()
    in_seconds = sum(times) / runs < mean_ms  # a mean of nanoseconds is a million times that of milliseconds
    return tuple(time * (_MS_PER_S if in_seconds else _MS_PER_NS) for time in times)


RUNNER = OnnxRuntimePerfTest()
