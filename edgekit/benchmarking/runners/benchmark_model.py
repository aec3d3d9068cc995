"""TFLite's ``benchmark_model``, and the LiteRT tools that print the same.

Sources of the forms: ``tflite/tools/benchmark/benchmark_model.cc``, ``benchmark_tflite_model.cc`` and
``stats_calculator.h`` of LiteRT and TensorFlow. The program cannot tell when its warm-up has settled, so it warms up
for all of ``warmup_s``; it tells the median since 2024, and of the other percentiles only the 5th and the 95th.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgekit.benchmarking.executors import Completed, Executor
from edgekit.benchmarking.runners import Trial, Workload
from edgekit.benchmarking.runners.benchmark_model_ops import parse_profile
from edgekit.benchmarking.runners.delegation import parse_delegation
from edgekit.benchmarking.runners.programs import Program, find, send_program, time_of
from edgekit.profiles.device import Device

_DELEGATE_FLAGS: Mapping[str | None, tuple[str, ...]] = {
    None: (),
    "none": ("--use_xnnpack=false",),
    "xnnpack": ("--use_xnnpack=true",),
    "gpu": ("--use_gpu=true",),
    # NNAPI's own reference implementation runs on the CPU, slowly, and calls that accelerated.
    "nnapi": ("--use_nnapi=true", "--disable_nnapi_cpu=true"),
}

# "count=50 first=… curr=… min=… max=… avg=… std=… p5=… median=… p95=…"; all runs alike: "count=50 curr=…(all same)".
# Not those of the profile: "Timings (microseconds): count=…".
_STATISTICS = re.compile(r"^(?:\S*INFO:? +|.*\] *)?((?:curr=\S+ )?count=\d+.*)$", re.MULTILINE)
_PAIR = re.compile(r"(\w+)=([-+.\w]+)")

_REFUSED = re.compile(
    r"[Ff]ailed to (?:mmap|load) (?:the )?model|Model provided has model identifier|not a valid [Ff]latbuffer"
    r"|Invalid model|Didn't find op for|unresolved custom op|[Ff]ailed to (?:construct|initialize) (?:the )?interpreter"
)
_UNREADABLE = re.compile(r"Could not open|Mmap of .* failed|Failed to allocate|out of memory", re.IGNORECASE)

_EXPECTED = "a line like: count=50 first=… avg=… std=…"


class BenchmarkModel:
    """The runner; see :class:`edgekit.benchmarking.runners.Runner`."""

    name = "benchmark_model"
    formats = ("tflite",)

    def prepare(self, executor: Executor, device: Device, format_name: str) -> "PreparedBenchmarkModel":
        """Send the program that the profile names."""
        return PreparedBenchmarkModel(send_program(executor, device, format_name, self.name))


class PreparedBenchmarkModel:
    """The program on the device."""

    name = "benchmark_model"
    runtime = "litert"

    def __init__(self, program: Program) -> None:
        self._program = program
        self._peaks: dict[str, int | None] = {}

    def command(self, workload: Workload) -> Sequence[str]:
        """The command of one trial."""
        limits = workload.limits
        return self._program.command(
            f"--graph={workload.model}",
            f"--num_threads={workload.threads}",
            "--warmup_runs=1",
            f"--warmup_min_secs={limits.warmup_s:g}",
            f"--num_runs={limits.min_runs}",
            f"--min_secs={limits.min_s:g}",
            f"--max_secs={limits.max_s:g}",
            *self._memory_flag(workload),
            *_DELEGATE_FLAGS[workload.delegate],
            *(("--enable_op_profiling=true",) if workload.profile else ()),
        )

    def parse(self, completed: Completed, workload: Workload) -> Trial:
        """The figures of the regular runs; the first line of statistics is that of the warm-up."""
        text = f"{completed.stdout}\n{completed.stderr}"
        lines = [dict(_PAIR.findall(line)) for line in _STATISTICS.findall(text)]
        runs = int(lines[-1]["count"]) if lines else 0
        mean = time_of(lines[-1].get("avg", lines[-1].get("curr", "").partition("(")[0])) if lines else None
        if completed.exit_code != 0 or runs == 0 or mean is None:
            if _REFUSED.search(text) and not _UNREADABLE.search(text):
                raise self._program.refused(completed, workload.model)
            raise self._program.failed(completed, _EXPECTED)
        trial = _trial(text, lines[-1], mean, int(lines[0]["count"]) if len(lines) > 1 else None, workload)
        self._peaks[workload.model] = trial.peak_memory_bytes or self._peaks.get(workload.model)
        return replace(trial, peak_memory_bytes=self._peaks[workload.model])

    def _memory_flag(self, workload: Workload) -> tuple[str, ...]:
        """In an artifact's first trial alone: a thread of the timed process asks for it all the time."""
        return () if workload.model in self._peaks else ("--report_peak_memory_footprint=true",)


def _trial(
    text: str, measured: Mapping[str, str], mean_us: float, warmup_runs: int | None, workload: Workload
) -> Trial:
    all_alike = "avg" not in measured
    median = mean_us if all_alike else time_of(measured.get("median"))
    peak = time_of(find(r"Overall peak memory footprint \(MB\) via periodic monitoring: (\S+)", text))
    delegation = parse_delegation(text, workload.delegate)
    return Trial(
        runs=int(measured["count"]),
        mean_ms=mean_us / 1000,
        median_ms=None if median is None else median / 1000,
        std_ms=0.0 if all_alike else _milliseconds(measured.get("std")),
        load_ms=_milliseconds(find(r"timings in us: .*?Init: ([^\s,]+)", text)),
        first_ms=_milliseconds(find(r"First inference: ([^\s,]+)", text)),
        warmup_runs=warmup_runs,
        peak_memory_bytes=None if peak is None else round(peak * (1 << 20)),
        accelerated_ops=delegation.accelerated_ops,
        total_ops=delegation.total_ops,
        partitions=delegation.partitions,
        runtime_version=find(r"Tensor[Ff]low Version : (\S+)", text),
        profile=parse_profile(text) if workload.profile else (),
    )


def _milliseconds(microseconds: str | None) -> float | None:
    value = time_of(microseconds)
    return None if value is None else value / 1000


RUNNER = BenchmarkModel()
