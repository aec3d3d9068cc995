"""Turn a float graph into one with integer weights and activations, as QDQ pairs in the graph.

    calibration = calibrate(model, samples)           # once, for all targets
    quantized = quantize(model, scheme, calibration)  # per target

Importing the package, or its `scheme`, loads nothing heavy: target profiles are read without numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgekit.passes.quantize.scheme import QuantizationScheme

if TYPE_CHECKING:
    from edgekit.passes.quantize.apply import PRECISION_KEY, quantize
    from edgekit.passes.quantize.calibration import Calibration, calibrate

__all__ = ["PRECISION_KEY", "Calibration", "QuantizationScheme", "calibrate", "quantize"]

_HOME = {"PRECISION_KEY": "apply", "quantize": "apply", "Calibration": "calibration", "calibrate": "calibration"}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
