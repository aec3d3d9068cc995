"""On what an artifact is calculated: a TFLite delegate, an MNN backend or an ONNX Runtime execution provider.

Each is called by its runtime's own word, as target profiles have it. Nothing runs on the CPU silently that was
promised, or asked for, on something else.
"""

import logging
from collections.abc import Mapping

from edgekit.benchmarking.promises import promising_runtime
from edgekit.benchmarking.subjects import Artifact
from edgekit.errors import ProfileError, UsageError
from edgekit.profiles.device import Device
from edgekit.profiles.target import Target

_DEFAULTS = {"tflite": "xnnpack", "mnn": "CPU", "onnx": "CPUExecutionProvider"}

_OWN: Mapping[str, tuple[str, ...]] = {
    "tflite": ("xnnpack", "none"),
    "mnn": ("CPU",),
    "onnx": ("CPUExecutionProvider",),
}
_OF_RUNNERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "edgekit": _OWN,
    "python": _OWN,
    "benchmark_model": {"tflite": ("xnnpack", "gpu", "nnapi", "none")},
    "MNNV2Basic": {"mnn": ("CPU", "OPENCL", "VULKAN", "CUDA", "NN")},
    "onnxruntime_perf_test": {
        "onnx": (
            "CPUExecutionProvider",
            "XnnpackExecutionProvider",
            "NnapiExecutionProvider",
            "QNNExecutionProvider",
            "CUDAExecutionProvider",
        )
    },
}
"""What each runner can measure with; whether the device has it too shows when it runs."""

# What --delegate means for each format.
_OF_FLAGS: Mapping[str, Mapping[str, str]] = {
    "tflite": {"xnnpack": "xnnpack", "gpu": "gpu", "nnapi": "nnapi", "none": "none"},
    "mnn": {"gpu": "OPENCL", "nnapi": "NN", "none": "CPU"},
    "onnx": {"xnnpack": "XnnpackExecutionProvider", "nnapi": "NnapiExecutionProvider", "none": "CPUExecutionProvider"},
}
# A library of kernels for the CPU: what has none of it runs on the CPU all the same.
_OF_THE_CPU = "xnnpack"

_log = logging.getLogger("edgekit")


def choose_accelerator(
    artifact: Artifact, runner: str, device: Device, target: Target | None, asked: str | None
) -> str | None:
    """What was ``asked`` for with --delegate, else what the target has, else XNNPACK or the plain CPU (None).

    An export for another device may be measured on this machine or a board without its accelerator, which is noted.
    Raises UsageError when the runner cannot do what was asked for, ProfileError when it cannot do what ``target``, or
    that of an export on its own phone, has.
    """
    supported = _OF_RUNNERS[runner].get(artifact.format, ())
    if asked is not None:
        return _plain(artifact, _asked(artifact, runner, device, asked))
    runtime = promising_runtime(artifact, target)
    if runtime is None:
        return _plain(artifact, _DEFAULTS[artifact.format])
    if runtime.accelerator in supported:
        return _plain(artifact, runtime.accelerator)
    name = target.name if target else artifact.target
    if target is not None or runner not in ("edgekit", "python"):
        raise ProfileError(
            f"{artifact.path}: {name} runs it on {runtime.accelerator}, but {runner} on {device.name} has "
            f"{', '.join(supported)} only; choose another target, or --delegate none"
        )
    _log.warning(
        "%s: its target %s runs it on %s; %s measures it on the CPU", artifact.path, name, runtime.accelerator, runner
    )
    return _plain(artifact, _DEFAULTS[artifact.format])


def applies(artifact: Artifact, runner: str, asked: str) -> bool:
    """Whether --delegate means anything for this artifact and its runner."""
    return _OF_FLAGS[artifact.format].get(asked) in _OF_RUNNERS[runner].get(artifact.format, ())


def _asked(artifact: Artifact, runner: str, device: Device, asked: str) -> str:
    if applies(artifact, runner, asked):
        return _OF_FLAGS[artifact.format][asked]
    if asked == _OF_THE_CPU:
        _log.warning("%s: --delegate %s does not apply to it; it is measured on the CPU", artifact.path, asked)
        return _DEFAULTS[artifact.format]
    raise _refusal(artifact, runner, device, asked)


def _refusal(artifact: Artifact, runner: str, device: Device, asked: str) -> UsageError:
    supported = _OF_RUNNERS[runner].get(artifact.format, ())
    flags = [flag for flag, word in _OF_FLAGS[artifact.format].items() if word in supported]
    hint = "measure the others alone, with --runtime" if flags else "leave it out"
    if artifact.format == "tflite" and runner != "benchmark_model":
        hint = "expected an Android device, whose benchmark_model has it"
    return UsageError(
        f"--delegate {asked}: {runner} on {device.name} has {' and '.join(flags)} only for {artifact.path}; {hint}"
    )


def _plain(artifact: Artifact, accelerator: str) -> str | None:
    """Only TFLite has a word for the plain CPU that tells more than the runtime's name."""
    return None if artifact.format != "tflite" and accelerator == _DEFAULTS[artifact.format] else accelerator
