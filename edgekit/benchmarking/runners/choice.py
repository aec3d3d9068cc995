"""Which program measures a format on a device when nobody says."""

from edgekit.benchmarking.runner.build import can_build
from edgekit.benchmarking.runners import Runner, find_runner
from edgekit.errors import ProfileError
from edgekit.profiles.device import Device

_NATIVE_FORMATS = ("tflite", "onnx")
_ANDROID_PROGRAMS = {"tflite": "benchmark_model", "onnx": "onnxruntime_perf_test", "mnn": "MNNV2Basic"}


def default_runner(device: Device, format_name: str) -> Runner:
    """The device profile's runner; without one, edgekit's own in C where it can be built, else the one in Python.

    Raises ProfileError for an Android device whose profile names no program.
    """
    if format_name in device.runners:
        return find_runner(device.runners[format_name].kind)
    if device.kind == "adb":
        raise ProfileError(
            f"{device.path or device.name}: nothing says what measures .{format_name} files there; expected "
            f'[runners.{format_name}] with kind = "{_ANDROID_PROGRAMS[format_name]}" and "path" (or "url" with '
            f'"sha256") in a device profile with serial = "{device.serial or "…"}"'
        )
    is_local = device.kind == "local"
    if format_name in _NATIVE_FORMATS and can_build(device.abi, for_this_machine=is_local):
        return find_runner("edgekit")
    return find_runner("python")
