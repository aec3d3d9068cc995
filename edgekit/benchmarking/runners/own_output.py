"""What edgekit's own measuring programs take and what they write: the same for the one in C and the one in Python."""

import json
import signal
from collections.abc import Mapping
from typing import Any

from edgekit.benchmarking.executors import Completed
from edgekit.benchmarking.runners import OpTime, Trial, Workload
from edgekit.errors import DeviceError, ModelError
from edgekit.interface import Precision

RUNTIMES = {"tflite": "litert", "onnx": "onnxruntime", "mnn": "mnn"}
"""The runtime of each format, as ``--runtime`` takes it."""

_VERSION = 1
_MODEL_REFUSED, _INFERENCE_FAILED = 4, 5
_PROGRAM = "edgekit-runner: "
_STAGE = _PROGRAM + "stage: "
_WORDS_OF_RUNTIMES = tuple(f"{runtime}: " for runtime in RUNTIMES.values())
_EXPECTED = "expected a file that this runtime runs: export it again"

# What a runtime that trusts a broken file ends with. SIGILL is a library for another processor, SIGKILL no memory.
_FAULTS: dict[int, str] = {
    number: number.name for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE)
}
_MESSAGE = 500


def arguments(workload: Workload) -> list[str]:
    """The flags of both programs, but for the library."""
    limits = workload.limits
    flags = [f"--runtime={RUNTIMES[workload.format]}", f"--model={workload.model}", f"--threads={workload.threads}"]
    flags += [f"--warmup-s={limits.warmup_s:g}", f"--min-runs={limits.min_runs}"]
    flags += [f"--min-s={limits.min_s:g}", f"--max-s={limits.max_s:g}", f"--max-runs={limits.max_runs}"]
    words = [word for flag in flags for word in flag.split("=", 1)]
    if workload.delegate is not None:
        words += ["--delegate", workload.delegate]
    if workload.format == "mnn" and workload.precision == Precision.INT8_DYNAMIC:
        words += ["--memory", "low"]
    return [*words, "--profile"] if workload.profile else words


def parse_output(completed: Completed, workload: Workload, program: str) -> Trial:
    """What ``program`` found.

    Raises ModelError when the runtime refuses the model, cannot run it or crashes on it, DeviceError with the program's
    last words when the program or the runtime does not even start, or what it wrote is not understood.
    """
    if completed.exit_code != 0:
        raise _failed(completed, workload, program)
    try:
        document = json.loads(completed.stdout.strip().rpartition("\n")[2])
        if document["edgekit_runner"] != _VERSION:
            raise ValueError("another version of the program")
        return _trial(document)
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise DeviceError(
            f"{program}: wrote {_clip(completed.stdout)!r} about {_label(workload)}, not understood ({error!r}); "
            "expected the JSON of this version of edgekit's runner: put the same version there"
        ) from error


def _trial(document: Mapping[str, Any]) -> Trial:
    times = tuple(time / 1e6 for time in document["times_ns"])
    peak = document["peak_memory_kb"]
    return Trial(
        runs=len(times),
        mean_ms=sum(times) / len(times),
        times_ms=times,
        load_ms=document["load_us"] / 1e3,
        first_ms=document["first_us"] / 1e3,
        warmup_runs=document["warmup_runs"],
        settled=document["settled"],
        peak_memory_bytes=None if peak is None else peak * 1024,
        accelerated_ops=document["accelerated_ops"],
        total_ops=document["total_ops"],
        partitions=document["partitions"],
        runtime_version=document["runtime_version"],
        profile=tuple(_op_time(entry) for entry in document["profile"]),
    )


def _op_time(entry: Mapping[str, Any]) -> OpTime:
    return OpTime(entry["op"], entry["node"], entry["mean_us"] / 1e3, entry["accelerated"])


def _failed(completed: Completed, workload: Workload, program: str) -> DeviceError | ModelError:
    lines = [line.strip() for line in completed.stderr.splitlines() if line.strip()]
    stages = [line.removeprefix(_STAGE) for line in lines if line.startswith(_STAGE)]
    said = [line.removeprefix(_PROGRAM) for line in lines if not line.startswith(_STAGE)]
    words = _clip(said[-1].replace(workload.model, "the file") if said else "it wrote nothing")
    label = _label(workload)
    crash = _signal(completed.exit_code)
    if stages and crash in _FAULTS:
        # The runtime's own check failed, and said so before it aborted.
        reason = f": {words}" if crash == signal.SIGABRT and said else ""
        doing = f"{RUNTIMES[workload.format]} crashes with {_FAULTS[crash]} while {stages[-1]} it"
        return ModelError(f"{label}: {doing}{reason}; {_EXPECTED}")
    if completed.exit_code == _INFERENCE_FAILED or words.lower().startswith(_WORDS_OF_RUNTIMES):
        return ModelError(f"{label}: {words}; {_EXPECTED}")
    if completed.exit_code == _MODEL_REFUSED:
        return ModelError(f"{label}: {words}")
    return DeviceError(
        f"{program} {_ending(completed.exit_code)} on {label}: {words}; "
        "expected it to run: check the file with edgekit verify, and the runtime that is installed there"
    )


def _label(workload: Workload) -> str:
    return workload.label or workload.model


def _signal(code: int) -> int:
    return -code if code < 0 else code - 128


def _ending(code: int) -> str:
    number = _signal(code)
    if number in {signal.SIGKILL}:
        return "was killed (SIGKILL, as when the memory is exhausted)"
    if number in set(signal.Signals):
        return f"crashed with {signal.Signals(number).name}"
    return f"failed with exit code {code}"


def _clip(text: str) -> str:
    return " ".join(text.split())[:_MESSAGE]
