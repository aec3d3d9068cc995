"""Integer weights and biases of one operator: scales, rounding, and what the bias can make up for.

Weights are symmetric and biases int32 at the scale of the accumulator, as the TFLite int8 specification wants them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.passes.quantize.gptq import gptq_codes
from edgekit.passes.quantize.moments import Moments
from edgekit.passes.quantize.qparams import (
    FloatArray,
    QParams,
    channel_bounds,
    choose_symmetric_qparams,
    dequantize,
    quantize,
)
from edgekit.passes.quantize.scheme import Granularity, PerAxis, PerTensor, QuantizationScheme

INT32_MAX = 2**31 - 1
# The bias keeps to a share of int32, so that the products added to it in the accumulator still fit.
_BIAS_MAX = 2**30
# In steps of the output: an accumulator finer than this helps nobody, and XNNPACK refuses one finer than 2**-32. It is
# the scale of channels of zeros, whose biases it holds well.
_FINEST_STEP = 2.0**-24


@dataclass(frozen=True, slots=True)
class WeightedOperator:
    """The constants of a Conv, ConvTranspose, Gemm or MatMul, as floats, and its input's and output's parameters.

    ``axis`` is the weight's output-channel axis, None for one scale. ``takes_bias``: a bias can be added where there is
    none. ``moments`` are the input's, where known.
    """

    weight: NDArray[np.float32]
    axis: int | None
    bias: NDArray[np.float32] | None
    takes_bias: bool
    source: QParams
    target: QParams
    moments: Moments | None


@dataclass(frozen=True, slots=True)
class IntegerOperator:
    """The constants of a `WeightedOperator` as codes."""

    weight: NDArray[np.int8]
    weight_qparams: QParams
    bias: NDArray[np.int32] | None
    bias_qparams: QParams | None


def quantize_operator(operator: WeightedOperator, scheme: QuantizationScheme) -> IntegerOperator:
    """Round the weight as ``scheme`` says and the bias to what makes the expected output that of the float operator."""
    granularity = weight_granularity(operator.axis, scheme)
    qparams = _weight_qparams(operator, operator.bias, granularity, scheme.weight_quant_max)
    integers, bias = _rounded(operator, scheme, qparams)
    if bias is not None and not _bias_fits(bias, operator.source, qparams):
        # The correction made it too large for the room that was left for the bias as it came.
        qparams = _weight_qparams(operator, bias, granularity, scheme.weight_quant_max)
        integers, _ = _rounded(operator, scheme, qparams)
    return integers


def _rounded(
    operator: WeightedOperator, scheme: QuantizationScheme, qparams: QParams
) -> tuple[IntegerOperator, NDArray[np.float64] | None]:
    """The codes for the scales ``qparams``, and the bias with its correction, in float."""
    correct = scheme.bias_correction and operator.takes_bias and operator.moments is not None
    if scheme.rounding == "gptq" and operator.moments is not None and operator.moments.pairs:
        codes = _gptq(operator, qparams, operator.moments, centered=correct)
    else:
        codes = quantize(operator.weight, qparams)
    bias = None if operator.bias is None else operator.bias.astype(np.float64)
    if correct and operator.moments is not None:
        error = operator.weight.astype(np.float64) - dequantize(codes, qparams)
        correction = _expected_error(operator, error, operator.moments)
        bias = correction if bias is None else bias + correction
    if bias is None:
        return IntegerOperator(codes, qparams, None, None), None
    return IntegerOperator(codes, qparams, *_quantize_bias(bias, operator.source, qparams)), bias


def weight_granularity(axis: int | None, scheme: QuantizationScheme) -> Granularity:
    """One scale per output channel where both the operator and the scheme allow it."""
    return PerTensor() if axis is None or scheme.weight_granularity == "per_tensor" else PerAxis(axis)


def _weight_qparams(
    operator: WeightedOperator, bias: FloatArray | None, granularity: Granularity, quant_max: int
) -> QParams:
    """MinMax scales, raised where the bias would not fit int32 or the accumulator would count in needless detail."""
    bounds = channel_bounds(operator.weight, granularity)
    source, target = float(operator.source.scale), float(operator.target.scale)
    bounds = np.maximum(bounds, target / source * _FINEST_STEP * quant_max)
    if bias is not None:
        least = np.abs(bias.astype(np.float64)) / _BIAS_MAX / source * quant_max
        bounds = np.maximum(bounds, least if isinstance(granularity, PerAxis) else least.max(initial=0.0))
    return choose_symmetric_qparams(bounds, quant_max, granularity)


def _matrices(array: FloatArray, axis: int, groups: int) -> NDArray[np.float64]:
    """[groups, outputs per group, inputs]: one row per output channel, inputs in the order of the moments."""
    rows = np.moveaxis(array.astype(np.float64), axis, 0)
    return rows.reshape(groups, array.shape[axis] // groups, -1)


def _gptq(operator: WeightedOperator, qparams: QParams, moments: Moments, *, centered: bool) -> NDArray[np.int8]:
    axis = operator.axis or 0
    groups = moments.groups
    weight = _matrices(operator.weight, axis, groups)
    scale = np.broadcast_to(qparams.scale.astype(np.float64), operator.weight.shape[axis]).reshape(groups, -1, 1)
    codes = gptq_codes(weight / scale, moments.second_moment(centered=centered), qparams.quant_max)
    moved = np.moveaxis(operator.weight, axis, 0)
    return np.ascontiguousarray(np.moveaxis(codes.reshape(moved.shape), 0, axis).astype(np.int8))


def _expected_error(
    operator: WeightedOperator, weight_error: NDArray[np.float64], moments: Moments
) -> NDArray[np.float64]:
    """[outputs]: E[W x] - E[Ŵ x̂], the mean that rounding weights and input takes from the output.

    Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv:1906.04721),
    section 4.2, with the input's mean from data: (W - Ŵ) E[x̂] + W (E[x] - E[x̂]).
    """
    axis, groups = operator.axis or 0, moments.groups
    expected = _matrices(weight_error, axis, groups) @ moments.mean()[:, :, None]
    if moments.qparams.equals(operator.source):
        expected += _matrices(operator.weight, axis, groups) @ moments.mean_error()[:, :, None]
    return np.asarray(expected.reshape(-1))


def _bias_fits(bias: NDArray[np.float64], source: QParams, weight: QParams) -> bool:
    # Half a step: the scales are rounded to float32.
    return bool((np.abs(bias) <= (_BIAS_MAX + 2**10) * np.float64(source.scale) * weight.scale).all())


def _quantize_bias(bias: NDArray[np.float64], source: QParams, weight: QParams) -> tuple[NDArray[np.int32], QParams]:
    scales = np.broadcast_to(weight.scale * source.scale, bias.shape).astype(np.float32)
    codes = np.clip(np.rint(bias / scales), -INT32_MAX, INT32_MAX).astype(np.int32)
    zeros = np.zeros(scales.shape, np.int32)
    return codes, QParams(scales, zeros, -INT32_MAX, INT32_MAX, PerAxis(0))
