"""Affine quantization: ``real = (code - zero_point) * scale``, by the TFLite int8 specification.

Source: https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec; Jacob et al. 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (section 2 and 3).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgekit.passes.quantize.scheme import Granularity, PerAxis, PerTensor

FloatArray = NDArray[np.floating]

QUANT_MIN, QUANT_MAX = -128, 127
PER_TENSOR = PerTensor()

# The product of an activation's and a weight's scale must stay a normal float32 (>= 2**-126), and so must its ratio to
# an output's scale.
MIN_SCALE = 2.0**-60


@dataclass(frozen=True, eq=False)
class QParams:
    """The scales and zero points of one tensor.

    ``scale`` float32 and ``zero_point`` int32 have shape () for `PerTensor` and (channels,) for `PerAxis`.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int32]
    quant_min: int = QUANT_MIN
    quant_max: int = QUANT_MAX
    granularity: Granularity = PER_TENSOR

    def equals(self, other: "QParams") -> bool:
        """Whether the codes of both mean the same reals, bit for bit."""
        return (
            (self.quant_min, self.quant_max, self.granularity) == (other.quant_min, other.quant_max, other.granularity)
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )

    def along(self, rank: int) -> tuple[FloatArray, NDArray[np.int32]]:
        """``scale`` and ``zero_point`` shaped to broadcast against a tensor of ``rank`` dimensions."""
        if isinstance(self.granularity, PerTensor):
            return self.scale, self.zero_point
        shape = [1] * rank
        shape[self.granularity.axis] = -1
        return self.scale.reshape(shape), self.zero_point.reshape(shape)


def fixed_qparams(scale: float, zero_point: int) -> QParams:
    """Per-tensor parameters that a specification prescribes."""
    return QParams(np.array(scale, np.float32), np.array(zero_point, np.int32))


def choose_qparams(minimum: float, maximum: float, quant_min: int = QUANT_MIN, quant_max: int = QUANT_MAX) -> QParams:
    """Asymmetric per-tensor parameters that cover ``[minimum, maximum]`` and 0, which gets a code of its own.

    The zero point is the nearest code to the real one ("nudged"), so each end may be cut by up to half a step.

    Raises:
        ValueError: a bound is not finite, or they are in the wrong order.
    """
    if not (np.isfinite(minimum) and np.isfinite(maximum) and minimum <= maximum):
        raise ValueError(f"range [{minimum}, {maximum}] is not finite and ordered")
    low, high = min(float(minimum), 0.0), max(float(maximum), 0.0)
    if low == high:
        return QParams(np.array(1.0, np.float32), np.array(quant_min, np.int32), quant_min, quant_max)
    scale = np.float32(max((high - low) / (quant_max - quant_min), MIN_SCALE))
    zero_point = int(np.clip(round(quant_min - low / float(scale)), quant_min, quant_max))
    return QParams(np.array(scale, np.float32), np.array(zero_point, np.int32), quant_min, quant_max)


def choose_symmetric_qparams(bound: ArrayLike, quant_max: int, granularity: Granularity) -> QParams:
    """Symmetric parameters (zero point 0) that cover ``[-bound, bound]``; ``bound`` has shape () or (channels,).

    A channel of zeros takes the largest scale of the others, so that its bias stays representable.

    Raises:
        ValueError: a bound is negative or not finite.
    """
    bounds = np.asarray(bound, np.float64)
    if not (np.all(np.isfinite(bounds)) and np.all(bounds >= 0)):
        raise ValueError("bounds must be finite and not negative")
    largest = bounds.max(initial=0.0)
    filled = np.where(bounds > 0, bounds, largest if largest > 0 else 1.0)
    scale = np.maximum(filled / quant_max, MIN_SCALE).astype(np.float32)
    return QParams(scale, np.zeros(scale.shape, np.int32), -quant_max, quant_max, granularity)


def quantize(values: FloatArray, qparams: QParams) -> NDArray[np.int8]:
    """The nearest codes of ``values``, ties to even, saturated: what ONNX QuantizeLinear computes."""
    scale, zero_point = qparams.along(values.ndim)
    codes = np.rint(values.astype(np.float32) / scale) + zero_point
    return np.clip(codes, qparams.quant_min, qparams.quant_max).astype(np.int8)


def dequantize(codes: NDArray[np.integer], qparams: QParams) -> NDArray[np.float32]:
    """The reals that ``codes`` mean, as float32."""
    scale, zero_point = qparams.along(codes.ndim)
    return ((codes.astype(np.int32) - zero_point) * scale).astype(np.float32)


def fake_quantize(values: FloatArray, qparams: QParams) -> NDArray[np.float32]:
    """Quantize, then dequantize, in float."""
    return dequantize(quantize(values, qparams), qparams)


def channel_bounds(weight: FloatArray, granularity: Granularity) -> NDArray[np.float64]:
    """The largest magnitude per channel, or of the whole tensor."""
    magnitude = np.abs(weight.astype(np.float64))
    if isinstance(granularity, PerAxis):
        others = tuple(d for d in range(weight.ndim) if d != granularity.axis)
        return np.asarray(magnitude.max(axis=others, initial=0.0))
    return np.asarray(magnitude.max(initial=0.0))
