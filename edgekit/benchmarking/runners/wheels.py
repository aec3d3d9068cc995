"""Where the runtimes' wheels are that a Python on the device has installed."""

import json
import sys
from dataclasses import dataclass

from edgekit.benchmarking.executors import Executor
from edgekit.errors import DeviceError
from edgekit.profiles.device import Device

PACKAGES = {"tflite": "ai-edge-litert", "onnx": "onnxruntime", "mnn": "MNN"}
"""What PyPI calls each format's runtime."""

_TIMEOUT_S = 120.0

# Imports nothing of the runtimes: that would take seconds on a board. Python 3.7 has no importlib.metadata.
_SCRIPT = """
import glob, importlib.util, json, os
def find(module, names, pattern):
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin: return None
    folder = os.path.dirname(spec.origin)
    files = sorted(glob.glob(os.path.join(folder, pattern))) if pattern else []
    found = None
    for name in names:
        for info in glob.glob(os.path.join(os.path.dirname(folder), name + "-*.dist-info")):
            found = os.path.basename(info)[len(name) + 1:-len(".dist-info")]
    return {"module": module, "version": found, "library": files[-1] if files else None}
print(json.dumps({
    "tflite": find("ai_edge_litert", ["ai_edge_litert", "ai_edge_litert_nightly"], "libLiteRt.so")
              or find("tflite_runtime", ["tflite_runtime"], None),
    "onnx": find("onnxruntime", ["onnxruntime", "onnxruntime_gpu"], "capi/libonnxruntime.so*"),
    "mnn": find("MNN", ["MNN", "mnn"], None),
    "numpy": find("numpy", ["numpy"], None)}))
"""


@dataclass(frozen=True, slots=True)
class Wheel:
    """An installed runtime; ``library`` is the path of its C library there, None when the wheel has none."""

    module: str
    version: str | None
    library: str | None


def device_python(device: Device) -> str:
    """The Python on the device whose packages are the runtimes."""
    return device.python or (sys.executable if device.kind == "local" else "python3")


def find_wheels(executor: Executor, device: Device) -> dict[str, Wheel]:
    """The installed runtimes by format, and "numpy". Raises DeviceError when there is no Python."""
    python = device_python(device)
    done = executor.run([python, "-c", _SCRIPT], timeout=_TIMEOUT_S)
    try:
        found = json.loads(done.stdout)
        return {name: Wheel(**facts) for name, facts in found.items() if facts is not None}
    except (ValueError, TypeError, AttributeError) as error:
        words = " ".join((done.stderr or done.stdout).split())[-300:] or "it wrote nothing"
        raise DeviceError(
            f'{device.name}: {python} cannot tell which runtimes it has: {words}; set "python" in the device '
            "profile to a Python 3.7 or later that is there"
        ) from error
