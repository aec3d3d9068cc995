"""Reading QuantizeLinear and DequantizeLinear out of the graph.

int8 arithmetic follows https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec. uint8
codes are moved to int8 by 128, which leaves every real number as it is.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgekit.exporters.tflite.model import Array, Quantization

_UINT8_TO_INT8 = 128


@dataclass(frozen=True, slots=True)
class Codes:
    """A constant stored as integers: ``real = (data - zero_point) * scale``."""

    data: Array
    quantization: Quantization

    def real(self) -> Array:
        """The float32 numbers that the codes stand for."""
        shape = [1] * self.data.ndim
        if self.quantization.axis is not None:
            shape[self.quantization.axis] = -1
        scale = np.reshape(np.asarray(self.quantization.scale, np.float32), shape)
        zero_point = np.reshape(np.asarray(self.quantization.zero_point, np.int64), shape)
        return ((self.data.astype(np.int64) - zero_point) * scale.astype(np.float64)).astype(np.float32)


def initializer(value: ir.Value | None) -> Array | None:
    """The array of a constant of the graph, or None for anything computed."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return value.const_value.numpy()


def is_quantize(node: ir.Node | None) -> bool:
    """Whether ``node`` is QuantizeLinear."""
    return node is not None and node.op_type == "QuantizeLinear"


def is_dequantize(node: ir.Node | None) -> bool:
    """Whether ``node`` is DequantizeLinear."""
    return node is not None and node.op_type == "DequantizeLinear"


def parameters(node: ir.Node) -> Quantization | None:
    """Scale and zero point of a QuantizeLinear or DequantizeLinear; None unless 8-bit (or int32) and constant."""
    scale = initializer(node.inputs[1])
    zero = initializer(node.inputs[2]) if len(node.inputs) > 2 else None
    if scale is None or (zero is None and len(node.inputs) > 2 and node.inputs[2] is not None):
        return None
    stored = node.inputs[0].dtype if is_dequantize(node) else node.outputs[0].dtype  # type: ignore[union-attr]
    if stored not in (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT32) or scale.ndim > 1:
        return None
    zeros = np.zeros(scale.shape, np.int64) if zero is None else zero.astype(np.int64)
    if stored == ir.DataType.UINT8:
        zeros = zeros - _UINT8_TO_INT8
    scales = tuple(float(s) for s in np.ravel(scale.astype(np.float32)))
    points = tuple(int(z) for z in np.ravel(zeros))
    if len(scales) == 1:
        return Quantization(scales, points)
    source = node.inputs[0]
    rank = len(source.shape) if source is not None and source.shape is not None else 1
    return Quantization(scales, points, node.attributes.get_int("axis", 1) % rank)


def constant_codes(value: ir.Value | None) -> Codes | None:
    """The stored integers of a DequantizeLinear of a constant (``value`` is its output), or None."""
    node = value.producer() if value is not None else None
    if node is None or not is_dequantize(node):
        return None
    quantization = parameters(node)
    if quantization is None:
        return None
    data = initializer(node.inputs[0])
    if data is None:
        return _folded_codes(node.inputs[0], quantization)
    return Codes(_signed(data), quantization)


def _folded_codes(value: ir.Value | None, quantization: Quantization) -> Codes | None:
    node = value.producer() if value is not None else None
    if node is None or not is_quantize(node):
        return None
    real, own = initializer(node.inputs[0]), parameters(node)
    if real is None or own is None or not quantization.same(own):
        return None
    return quantized(real, quantization)


def _signed(data: Array) -> Array:
    return (data.astype(np.int16) - _UINT8_TO_INT8).astype(np.int8) if data.dtype == np.uint8 else data


def quantized(real: Array, quantization: Quantization) -> Codes:
    """Round ``real`` to int8 codes, half to even and saturating (ONNX QuantizeLinear)."""
    shape = [1] * real.ndim
    if quantization.axis is not None:
        shape[quantization.axis] = -1
    scale = np.reshape(np.asarray(quantization.scale, np.float64), shape)
    zero_point = np.reshape(np.asarray(quantization.zero_point, np.float64), shape)
    codes = np.clip(np.rint(real / scale) + zero_point, -128, 127)
    return Codes(codes.astype(np.int8), quantization)


def per_tensor_range(real: Array) -> Quantization:
    """The asymmetric int8 parameters of a constant's own range, zero included."""
    low, high = min(float(real.min()), 0.0), max(float(real.max()), 0.0)
    scale = float(np.float32((high - low) / 255)) or 1.0
    return Quantization((scale,), (int(np.clip(round(-128 - low / scale), -128, 127)),))


def activation_codes(value: ir.Value | None) -> ir.Value | None:
    """The per-tensor int8 value that ``value`` is the DequantizeLinear of, or None."""
    node = value.producer() if value is not None else None
    if node is None or not is_dequantize(node):
        return None
    own = parameters(node)
    return node.inputs[0] if own is not None and own.axis is None and constant_codes(value) is None else None


def quantize_user(value: ir.Value) -> ir.Node | None:
    """The per-tensor QuantizeLinear that alone uses ``value``, or None."""
    uses = list(value.uses())
    if value.is_graph_output() or len(uses) != 1 or not is_quantize(uses[0].node) or uses[0].idx != 0:
        return None
    own = parameters(uses[0].node)
    return uses[0].node if own is not None and own.axis is None else None
