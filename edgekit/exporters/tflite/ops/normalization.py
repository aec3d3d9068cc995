"""Normalizations that TFLite has no operator for, out of means and elementwise operators, in the layout at hand."""

import numpy as np
import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.exporters.tflite import layout
from edgekit.exporters.tflite.layout import Permutation
from edgekit.exporters.tflite.lowering import Lowering, Result
from edgekit.exporters.tflite.model import Array, Tensor
from edgekit.exporters.tflite.ops.expressions import binary, reduce, unary
from edgekit.exporters.tflite.ops.registry import Wants, lowers


def _normalized(lowering: Lowering, x: Tensor, axes: tuple[int, ...], epsilon: float) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) over physical ``axes``."""
    centered = binary(lowering, "SUB", x, reduce(lowering, "MEAN", x, axes))
    variance = reduce(lowering, "MEAN", binary(lowering, "MUL", centered, centered), axes)
    return binary(lowering, "MUL", centered, unary(lowering, "RSQRT", binary(lowering, "ADD", variance, epsilon)))


def _affine(lowering: Lowering, x: Tensor, scale: Array | None, bias: Array | None) -> Tensor:
    """``x`` times ``scale`` plus ``bias``; arrays in the physical layout of ``x``."""
    if scale is not None and not np.all(scale == 1):
        x = binary(lowering, "MUL", x, lowering.real("scale", scale))
    if bias is not None and np.any(bias):
        x = binary(lowering, "ADD", x, lowering.real("bias", bias))
    return x


def _per_channel(array: Array, label: Permutation) -> Array:
    shape = [1] * len(label)
    shape[label.index(1)] = -1
    return array.reshape(shape)


@lowers("BatchNormalization", wants=Wants.ANY)
def batch_normalization(lowering: Lowering, node: ir.Node) -> None:
    """MUL and ADD by constants (inference only)."""
    scale, bias, mean, variance = (lowering.required(node, index) for index in range(1, 5))
    factor = scale / np.sqrt(variance + np.float32(node.attributes.get_float("epsilon", 1e-5)))
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    product = binary(lowering, "MUL", source, lowering.real("scale", _per_channel(factor, label)))
    offset = lowering.real("bias", _per_channel(bias - mean * factor, label))
    lowering.finish("ADD", [product, offset], Result(node.outputs[0], label))


@lowers("InstanceNormalization", wants=Wants.CHANNELS_LAST)
def instance_normalization(lowering: Lowering, node: ir.Node) -> None:
    """Each channel of each sample by its own mean and variance."""
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    axes = tuple(sorted(label.index(axis) for axis in range(2, len(label))))
    x = _normalized(lowering, source, axes, node.attributes.get_float("epsilon", 1e-5))
    scale, bias = (_per_channel(lowering.required(node, index), label) for index in (1, 2))
    lowering.alias(node, _affine(lowering, x, scale, bias), label)


@lowers("LayerNormalization")
def layer_normalization(lowering: Lowering, node: ir.Node) -> None:
    """All axes from ``axis`` on by their common mean and variance."""
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        raise UnsupportedError("only the first output has a lowering")
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    first = node.attributes.get_int("axis", -1) % len(label)
    axes = tuple(sorted(label.index(axis) for axis in range(first, len(label))))
    x = _normalized(lowering, source, axes, node.attributes.get_float("epsilon", 1e-5))
    scale, bias = (_aligned(lowering, node, index, label) for index in (1, 2))
    lowering.alias(node, _affine(lowering, x, scale, bias), label)


def _aligned(lowering: Lowering, node: ir.Node, index: int, label: Permutation) -> Array | None:
    if lowering.optional(node, index) is None:
        return None
    array = lowering.required(node, index)
    return array.reshape((1,) * (len(label) - array.ndim) + array.shape).transpose(label)


@lowers("GroupNormalization", wants=Wants.CHANNELS_LAST)
def group_normalization(lowering: Lowering, node: ir.Node) -> None:
    """(N, spatial, groups, channels / groups) by the mean and variance over spatial positions and group members."""
    rank = lowering.rank(node.inputs[0])
    label = layout.channels_last(rank)
    source = lowering.tensor(node.inputs[0], label)
    groups, channels = node.attributes.get_int("num_groups"), source.shape[-1]
    area = int(np.prod(source.shape[1:-1]))
    grouped = lowering.reshape(source, (source.shape[0], area, groups, channels // groups))
    x = _normalized(lowering, grouped, (1, 3), node.attributes.get_float("epsilon", 1e-5))
    x = lowering.reshape(x, source.shape)
    scale, bias = lowering.required(node, 1), lowering.required(node, 2)
    lowering.alias(node, _affine(lowering, x, scale, bias), label)


@lowers("LpNormalization")
def lp_normalization(lowering: Lowering, node: ir.Node) -> None:
    """x / |x| along one axis, for p = 1 or 2."""
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    axes = (label.index(node.attributes.get_int("axis", -1) % len(label)),)
    if node.attributes.get_int("p", 2) == 1:
        norm = reduce(lowering, "SUM", unary(lowering, "ABS", source), axes)
    else:
        norm = unary(lowering, "SQRT", reduce(lowering, "SUM", binary(lowering, "MUL", source, source), axes))
    lowering.finish("DIV", [source, norm], Result(node.outputs[0], label))


@lowers("MeanVarianceNormalization")
def mean_variance_normalization(lowering: Lowering, node: ir.Node) -> None:
    """(x - mean) / (standard deviation + 1e-9) over ``axes`` (function body in the ONNX specification)."""
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    given = node.attributes.get_ints("axes", None) or (0, 2, 3)
    axes = tuple(sorted(label.index(axis % len(label)) for axis in given))
    centered = binary(lowering, "SUB", source, reduce(lowering, "MEAN", source, axes))
    variance = reduce(lowering, "MEAN", binary(lowering, "MUL", centered, centered), axes)
    deviation = binary(lowering, "ADD", unary(lowering, "SQRT", variance), 1e-9)
    lowering.finish("DIV", [centered, deviation], Result(node.outputs[0], label))


@lowers("LRN", wants=Wants.CHANNELS_LAST)
def local_response_normalization(lowering: Lowering, node: ir.Node) -> None:
    """LOCAL_RESPONSE_NORMALIZATION, whose alpha is ONNX's divided by the window."""
    size = node.attributes.get_int("size")
    if size % 2 == 0 or lowering.rank(node.inputs[0]) != 4:
        raise UnsupportedError("an even window or an input that is no image has no TFLite operator")
    label = layout.channels_last(4)
    options = {
        "radius": size // 2,
        "bias": node.attributes.get_float("bias", 1.0),
        "alpha": node.attributes.get_float("alpha", 1e-4) / size,
        "beta": node.attributes.get_float("beta", 0.75),
    }
    source = lowering.tensor(node.inputs[0], label)
    lowering.finish("LOCAL_RESPONSE_NORMALIZATION", [source], Result(node.outputs[0], label), **options)
