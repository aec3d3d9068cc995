"""ONNX Runtime's ``onnxruntime_perf_test``: source of the forms ``onnxruntime/test/perftest`` of 1.0 to 1.24.

It writes the time of every run to a result file, which the command prints behind what the program says itself. It warms
up for one run.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgekit.benchmarking.executors import Completed, Executor
from edgekit.benchmarking.runners import Trial, Workload
from edgekit.benchmarking.runners.programs import Program, RunCounts, find, send_program, time_of
from edgekit.profiles.device import Device

_FIRST_RUNS = 3
_FIRST_S = 600.0

_PROVIDERS: Mapping[str | None, tuple[str, ...]] = {
    None: (),
    "none": (),
    "xnnpack": ("-e", "xnnpack"),
    "nnapi": ("-e", "nnapi"),
}

_RESULTS = "edgekit: the result file"
_RESULT_FILE = "onnxruntime_perf_test.csv"
# $0 is the result file: the program appends to it.
_SCRIPT = f'rm -f "$0"; "$@" "$0"; code=$?; echo; echo "{_RESULTS}"; cat "$0" 2>/dev/null; exit $code'

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

    def command(self, workload: Workload) -> Sequence[str]:
        """The command of one trial; free dimensions are 1, inputs random."""
        return self._command(workload, self._counts.runs(workload))

    def parse(self, completed: Completed, workload: Workload) -> Trial:
        """Every run's time where the result file is there, else what the program says of them."""
        said, _, results = completed.stdout.partition(_RESULTS)
        said = f"{said}\n{completed.stderr}"
        mean = _mean_ms(said)
        runs = find(r"^(?:Total inference requests:|Total iterations:|Runs:) ?(\d+)", said)
        if completed.exit_code != 0 or mean is None or runs is None:
            raise self._program.failed(
                replace(completed, stdout=said), "a line like: Average inference time cost: … ms"
            )
        self._counts.learn(workload, mean)
        peak = find(r"^Peak working set size: ?(\d+)", said)
        return Trial(
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
        )

    def _command(self, workload: Workload, runs: int) -> list[str]:
        program = self._program.command(
            *("-m", "times", "-r", str(runs), "-x", str(workload.threads), "-I", "-s"),
            *_PROVIDERS[workload.delegate],
            workload.model,
        )
        return ["sh", "-c", _SCRIPT, _RESULT_FILE, *program]

    def _measure_first(self, workload: Workload) -> float:
        completed = self._executor.run(self._command(workload, _FIRST_RUNS), timeout=_FIRST_S)
        return self.parse(completed, workload).mean_ms


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
