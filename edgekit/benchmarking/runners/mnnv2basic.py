"""MNN's ``MNNV2Basic.out``: source of the forms ``tools/cpp/MNNV2Basic.cpp`` of MNN 1 to 3.

It tells mean, least and most of a number of runs, times every operation (two clock readings each, in every run), warms
up for one to four runs, and exits with 0 whatever happens.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgekit.benchmarking.executors import Completed, Executor
from edgekit.benchmarking.runners import OpTime, Trial, Workload
from edgekit.benchmarking.runners.programs import Program, RunCounts, find, send_program, time_of
from edgekit.errors import DeviceError, GateError
from edgekit.interface import Precision
from edgekit.profiles.device import Device

_USAGE_S = 30.0
_FIRST_RUNS = 3
_FIRST_S = 600.0

# MNNForwardType; 13 is the CPU with the instructions of newer processors.
_CPU, _CPU_EXTENSION = 0, 13
_FORWARD: Mapping[str | None, int] = {None: _CPU, "CUDA": 2, "OPENCL": 3, "NN": 5, "VULKAN": 7}
# For OpenCL the number of threads is a set of flags; this is MNN_GPU_TUNING_WIDE, MNN's own choice.
_OPENCL_MODE = 4
# BackendConfig::Precision_High: float32 stays float32, as in the verification. Since MNN 2.6 the memory mode is in the
# same number, times 4: with Memory_Low, and only then, weights of int8 are calculated with in int8.
_PRECISION_HIGH = 1
_MEMORY_LOW = 2
_ALL_TENSORS_OF_NO_OPERATION = "0"

_REFUSED = re.compile(
    r"Invalid(?:ate)? buffer to create interpreter|Buffer is too small|Can't open file"
    r"|[Cc]reate interpreter (?:error|fail)|Don't support type|Create execution error|[Cc]reate session failed"
)

_NUMBER = r"([-\d.]+|-?nan|-?inf)"
# "Avg= 5.570600 ms, min= 3.863000 ms, max= 11.596001 ms"; since MNN 2.9 with "OpSum = 7.059200 ms" and no comma.
_AVERAGE = rf"^Avg= {_NUMBER} ms, (?:OpSum = [-\d.naif]+ ms,? )?min= [-\d.naif]+ ms, max= [-\d.naif]+ ms"
# "<name>  [Convolution] run 10 average cost 0.452600 ms, 8.125 %, FlopsRate: 6.402 %"; MNN 1 without the type.
_OPERATION = re.compile(
    r"^ *(?P<node>\S.*?)?(?: +\t\[(?P<op>[^\]]*)\])? run \d+ average cost (?P<mean>[\d.]+) ms, [\d.]+ %, FlopsRate",
    re.MULTILINE,
)


class Mnnv2Basic:
    """The runner; see :class:`edgekit.benchmarking.runners.Runner`."""

    name = "MNNV2Basic"
    formats = ("mnn",)

    def prepare(self, executor: Executor, device: Device, format_name: str) -> "PreparedMnnv2Basic":
        """Send the program that the profile names and ask it in which order it takes its arguments."""
        program = send_program(executor, device, format_name, self.name)
        # It writes output.txt beside itself, and must not do that where programs are kept.
        made = executor.run(["ln", "-sf", program.path, f"{executor.folder}/{self.name}.out"], timeout=_USAGE_S)
        if made.exit_code == 0:
            program = replace(program, path=f"{executor.folder}/{self.name}.out")
        usage = executor.run(program.command(), timeout=_USAGE_S)
        return PreparedMnnv2Basic(executor, program, takes_precision(program, usage))


def takes_precision(program: Program, usage: Completed) -> bool:
    """Whether the sixth argument is the precision, as since MNN 2.1; before, it is the input's shape.

    Raises DeviceError when the program is another one.
    """
    arguments = find(r"^Arguments: (model.*)$", usage.stdout + usage.stderr)
    if arguments is None:
        raise program.failed(usage, "MNNV2Basic.out, which prints its arguments when it gets none")
    return arguments.find("precision") < arguments.find("inputSize")


class PreparedMnnv2Basic:
    """The program on the device. Without ``takes_precision`` it calculates in its own default, float16 where it can."""

    name = "MNNV2Basic"
    runtime = "mnn"

    def __init__(self, executor: Executor, program: Program, takes_precision: bool) -> None:
        self._executor = executor
        self._program = program
        self._takes_precision = takes_precision
        self._counts = RunCounts(self._measure_first)

    def command(self, workload: Workload) -> Sequence[str]:
        """The command of one trial; the shape is the file's own."""
        return self._command(workload, self._counts.runs(workload))

    def parse(self, completed: Completed, workload: Workload) -> Trial:
        """Mean and operations. Raises GateError when it ran on another backend than the one asked for."""
        text = f"{completed.stdout}\n{completed.stderr}"
        mean = time_of(find(_AVERAGE, text))
        runs = find(r"Run (\d+) time:", text)
        if completed.exit_code != 0 or mean is None or runs is None:
            if _REFUSED.search(text):
                raise self._program.refused(completed, workload.model)
            raise self._program.failed(completed, "a line like: Avg= … ms, min= … ms, max= … ms")
        self._require_backend(text, workload)
        self._require_memory(text, workload)
        self._counts.learn(workload, mean)
        return Trial(
            runs=int(runs),
            mean_ms=mean,
            partitions=None if workload.delegate is None else 1,
            load_ms=time_of(find(r"^test_main, \d+, cost time: ([\d.]+) ms", text)),
            profile=_operations(text) if workload.profile else (),
        )

    def _command(self, workload: Workload, runs: int) -> list[str]:
        forward = _FORWARD[workload.delegate]
        threads = _OPENCL_MODE if workload.delegate == "OPENCL" else workload.threads
        numbers = [runs, _ALL_TENSORS_OF_NO_OPERATION, forward, threads]
        if self._takes_precision:
            numbers.append(_PRECISION_HIGH + 4 * _MEMORY_LOW * _is_dynamic(workload))
        arguments = [str(number) for number in numbers]
        return self._program.command(workload.model, *arguments)

    def _measure_first(self, workload: Workload) -> float:
        completed = self._executor.run(self._command(workload, _FIRST_RUNS), timeout=_FIRST_S)
        return self.parse(completed, replace(workload, profile=False)).mean_ms

    def _require_backend(self, text: str, workload: Workload) -> None:
        wanted = _FORWARD[workload.delegate]
        used = find(r"backendType is (\d+)", text)
        on = None if used is None else int(used)
        if on == wanted or (wanted == _CPU and on in (None, _CPU_EXTENSION)):
            return
        how = "does not say on which backend it ran" if on is None else f"ran on backend {on}"
        raise GateError(
            f"{workload.model}: {self._program.name} {how}, not on {wanted} ({workload.delegate or 'CPU'}); expected a "
            "device and a build that have it: choose --delegate none"
        )

    def _require_memory(self, text: str, workload: Workload) -> None:
        told = find(r"memory: ?(\d+)", text)
        if _is_dynamic(workload) and (not self._takes_precision or told is None or int(told) != _MEMORY_LOW):
            raise DeviceError(
                f"{self._program.name} calculates {workload.model} in float: it has no memory mode, in which MNN "
                "calculates with int8 weights in int8; expected the program of MNN 3"
            )


def _is_dynamic(workload: Workload) -> bool:
    return workload.precision == Precision.INT8_DYNAMIC


def _operations(text: str) -> tuple[OpTime, ...]:
    """What it prints of the operations: the fastest first."""
    return tuple(
        OpTime(op=match["op"] or "", node=match["node"] or "", mean_ms=float(match["mean"]))
        for match in _OPERATION.finditer(text)
    )


RUNNER = Mnnv2Basic()
