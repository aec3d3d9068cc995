"""Turn a float graph into one with integer weights and activations, as QDQ pairs in the graph.

    calibration = calibrate(model, samples)           # once, for all targets
    quantized = quantize(model, scheme, calibration)  # per target

Importing the package, or its `scheme`, loads nothing heavy: target profiles are read without numpy.
"""

from typing import TYPE_CHECKING

from edgekit.lazy import lazy_names
from edgekit.passes.quantize.scheme import QuantizationScheme

if TYPE_CHECKING:
    from edgekit.passes.quantize.apply import PRECISION_KEY, quantize
    from edgekit.passes.quantize.calibration import Calibration, calibrate

__all__ = ["PRECISION_KEY", "Calibration", "QuantizationScheme", "calibrate", "quantize"]

__getattr__ = lazy_names(
    __name__, {"PRECISION_KEY": "apply", "quantize": "apply", "Calibration": "calibration", "calibrate": "calibration"}
)
