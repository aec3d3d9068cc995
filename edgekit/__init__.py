"""edgekit: a trained model in; verified INT8 TFLite, MNN and ONNX files for phones, boards and PCs out.

    import edgekit

    manifest = edgekit.export("model.keras", ["android-arm64"], calibration="samples.npz")
    print(manifest.artifacts[0].path, manifest.artifacts[0].verification.top1_agreement)

The functions here do what the commands of the same names do; importing this package loads nothing heavy.
"""

from typing import TYPE_CHECKING

from edgekit.lazy import lazy_names

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
    "benchmark": "benchmarking.benchmark",
    "Report": "benchmarking.results",
    "find_devices": "devices",
    "Device": "profiles.device",
    "list_devices": "profiles.device",
    "load_device": "profiles.device",
    "export": "pipeline",
    "verify": "verification.recheck",
    "Recheck": "verification.recheck_report",
    "inspect": "inspection",
    "Inspection": "inspection",
    "Manifest": "release.manifest",
    "Target": "profiles.target",
    "list_targets": "profiles.target",
    "load_target": "profiles.target",
} | dict.fromkeys(_ERRORS, "errors")

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


__getattr__ = lazy_names(__name__, _HOME)


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted(__all__)
