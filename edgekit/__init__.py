"""edgekit: a trained model in; verified INT8 TFLite, MNN and ONNX files for phones, boards and PCs out.

    import edgekit

    manifest = edgekit.export("model.keras", ["android-arm64"], calibration="samples.npz")
    print(manifest.artifacts[0].path, manifest.artifacts[0].verification.top1_agreement)

The functions here do what the commands of the same names do; importing this package loads nothing heavy.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.benchmarking.benchmark import benchmark
    from edgekit.benchmarking.results import Report
    from edgekit.devices import find_devices
    from edgekit.errors import (
        DataError,
        DependencyError,
        DeviceError,
        EdgekitError,
        GateError,
        InputError,
        ModelError,
        ProfileError,
        UnsupportedError,
        UsageError,
    )
    from edgekit.inspection import Inspection, inspect
    from edgekit.pipeline import export
    from edgekit.profiles.device import Device, list_devices, load_device
    from edgekit.profiles.target import Target, list_targets, load_target
    from edgekit.release.manifest import Manifest
    from edgekit.verification.recheck import verify
    from edgekit.verification.recheck_report import Recheck

__version__ = "0.1.0"

_ERRORS = (
    "EdgekitError",
    "UsageError",
    "InputError",
    "ModelError",
    "DataError",
    "ProfileError",
    "DependencyError",
    "UnsupportedError",
    "GateError",
    "DeviceError",
)
_HOME = {
    "benchmark": "edgekit.benchmarking.benchmark",
    "Report": "edgekit.benchmarking.results",
    "find_devices": "edgekit.devices",
    "Device": "edgekit.profiles.device",
    "list_devices": "edgekit.profiles.device",
    "load_device": "edgekit.profiles.device",
    "export": "edgekit.pipeline",
    "verify": "edgekit.verification.recheck",
    "Recheck": "edgekit.verification.recheck_report",
    "inspect": "edgekit.inspection",
    "Inspection": "edgekit.inspection",
    "Manifest": "edgekit.release.manifest",
    "Target": "edgekit.profiles.target",
    "list_targets": "edgekit.profiles.target",
    "load_target": "edgekit.profiles.target",
} | dict.fromkeys(_ERRORS, "edgekit.errors")

__all__ = [
    "DataError",
    "DependencyError",
    "Device",
    "DeviceError",
    "EdgekitError",
    "GateError",
    "InputError",
    "Inspection",
    "Manifest",
    "ModelError",
    "ProfileError",
    "Recheck",
    "Report",
    "Target",
    "UnsupportedError",
    "UsageError",
    "__version__",
    "benchmark",
    "export",
    "find_devices",
    "inspect",
    "list_devices",
    "list_targets",
    "load_device",
    "load_target",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that ``import edgekit`` costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module 'edgekit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted(__all__)
