"""Apply a scheme to a graph: the one function that the pipeline calls once per target."""

import onnx_ir as ir

from edgekit.errors import UsageError
from edgekit.interface import Precision
from edgekit.passes.quantize.calibration import Calibration
from edgekit.passes.quantize.scheme import QuantizationScheme
from edgekit.passes.quantize.static import quantize_static
from edgekit.passes.quantize.weight_only import quantize_weights, round_to_half

PRECISION_KEY = "edgekit.precision"


def quantize(model: ir.Model, scheme: QuantizationScheme, calibration: Calibration | None = None) -> ir.Model:
    """A copy of the canonical float ``model`` as ``scheme`` wants it, the precision in its metadata (`PRECISION_KEY`).

    Raises:
        UsageError: static int8 without a ``calibration``.
        ModelError: a weight that float16 cannot hold.
    """
    quantized = _quantize(model, scheme, calibration)
    quantized.metadata_props[PRECISION_KEY] = scheme.precision.value
    return quantized


def _quantize(model: ir.Model, scheme: QuantizationScheme, calibration: Calibration | None) -> ir.Model:
    match scheme.precision:
        case Precision.INT8:
            if calibration is None:
                raise UsageError(
                    "static int8 needs calibration data: give --calibration PATH, or --precision int8-dynamic"
                )
            return quantize_static(model, scheme, calibration)
        case Precision.INT8_DYNAMIC | Precision.INT8_WEIGHTS:
            return quantize_weights(model, scheme)
        case Precision.FP16:
            return round_to_half(model)
        case Precision.FP32:
            return model.clone()
