"""Conv: CONV_2D, DEPTHWISE_CONV_2D and CONV_3D, with bias and activation fused."""

import numpy as np
import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.exporters.tflite import layout
from edgekit.exporters.tflite.lowering import Lowering, Result
from edgekit.exporters.tflite.model import Array, Options, Quantization, Tensor
from edgekit.exporters.tflite.ops.registry import Wants, lowers
from edgekit.exporters.tflite.ops.spatial import Window, image, image_shape, padded, window
from edgekit.exporters.tflite.quantization import is_dequantize, is_quantize

_KEEPS_CHANNELS = frozenset({"Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "Elu"})
"""Operators that a reordering of channels passes through; each carries ``Lowering.shuffles`` on."""


def has_int8_weights(lowering: Lowering, node: ir.Node) -> bool:
    """Whether input 1 is stored as symmetric int8, which all int8 kernels with weights ask for."""
    codes = lowering.codes(node.inputs[1])
    return codes is not None and codes.data.dtype == np.int8 and not any(codes.quantization.zero_point)


def _int8_convolution(lowering: Lowering, node: ir.Node) -> bool:
    return has_int8_weights(lowering, node) and lowering.rank(node.inputs[0]) < 5


def bias_tensor(lowering: Lowering, node: ir.Node, real: Array, source: Tensor, weights: Tensor) -> Tensor:
    """The bias ``real``; in int8 mode int32 with scale input_scale * weight_scale (quantization specification)."""
    name = f"{node.outputs[0].name}/bias"
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        name = (node.inputs[2].name or name).removesuffix("_dequantized")
    if not lowering.int8:
        return lowering.real(name, real.astype(np.float32))
    assert source.quantization is not None and weights.quantization is not None
    scales = np.asarray(weights.quantization.scale, np.float32) * np.float32(source.quantization.scale[0])
    limits = np.iinfo(np.int32)
    codes = np.clip(np.rint(real.astype(np.float64) / scales), limits.min, limits.max).astype(np.int32)
    own = Quantization(tuple(float(s) for s in scales), (0,) * len(scales), 0 if len(scales) > 1 else None)
    return Tensor(name, codes.shape, codes.dtype, own, codes)


@lowers("Conv", int8=_int8_convolution, fuses=True, wants=Wants.CHANNELS_LAST)
def convolution(lowering: Lowering, node: ir.Node) -> None:
    """CONV_2D; DEPTHWISE_CONV_2D when every channel is its own group; CONV_3D for volumes. 1-D runs as height 1."""
    rank = lowering.rank(node.inputs[0])
    if not lowering.is_constant(node.inputs[1]):
        raise UnsupportedError("weights must be constant")
    if rank == 5:
        _convolution_3d(lowering, node)
    elif rank in (3, 4):
        _convolution_2d(lowering, node)
    else:
        raise UnsupportedError(f"input of rank {rank}; 3, 4 or 5 expected")


def window_options(made: Window) -> Options:
    """Padding, strides and dilations as the options of a convolution."""
    options: Options = {"padding": "SAME" if made.is_same() and not made.is_valid() else "VALID"}
    for name, stride, dilation in zip("dhw"[-len(made.strides) :], made.strides, made.dilations, strict=True):
        options[f"stride_{name}"] = stride
        options[f"dilation_{name}_factor"] = dilation
    return options


def _convolution_2d(lowering: Lowering, node: ir.Node) -> None:
    value = node.inputs[1]
    assert value is not None
    shape = lowering.shape(value)
    made = window(lowering, node, shape[2:])
    if len(shape) == 3:
        made, shape = made.with_unit_axis(), (*shape[:2], 1, shape[2])
    source = image(lowering, node.inputs[0])
    group = node.attributes.get_int("group", 1)
    depthwise = group > 1 and group == source.shape[-1] and shape[1] == 1
    permutation = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
    order = None if depthwise else pixel_shuffle_order(lowering, node.outputs[0])
    reorder = None if order is None else (0, order)
    weights = lowering.weight(value, shape, permutation, hybrid=group == 1, order=reorder)
    options = window_options(made)
    if options["padding"] == "VALID":
        source = padded(lowering, source, made)
    if depthwise:
        options["depth_multiplier"] = shape[0] // group
    real = _bias(lowering, node, shape[0])
    if order is not None:
        lowering.shuffles[node.outputs[0]], real = order, real[order]
    bias = bias_tensor(lowering, node, real, source, weights)
    builtin = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    label = layout.channels_last(lowering.rank(node.outputs[0]))
    through = image_shape(lowering, node.outputs[0])
    result = Result(node.outputs[0], label, through=through)
    lowering.finish(builtin, [source, weights, bias], result, **options)


def pixel_shuffle_order(lowering: Lowering, value: ir.Value) -> Array | None:
    """The channel order that spares a following DepthToSpace of mode CRD its transpose, or None.

    TFLite's DEPTH_TO_SPACE reads channels as (row, column, depth), CRD means (depth, row, column).
    """
    uses = list(value.uses())
    if value.is_graph_output() or len(uses) != 1:
        return None
    node = uses[0].node
    if is_quantize(node) or is_dequantize(node) or node.op_type in _KEEPS_CHANNELS:
        return pixel_shuffle_order(lowering, node.outputs[0])
    if node.op_type != "DepthToSpace" or node.attributes.get_string("mode", "DCR") != "CRD":
        return None
    block = node.attributes.get_int("blocksize")
    channels = lowering.shape(value)[1]
    return np.arange(channels).reshape(channels // block**2, block**2).T.ravel()


def _bias(lowering: Lowering, node: ir.Node, channels: int) -> Array:
    value = lowering.optional(node, 2)
    if value is None:
        return np.zeros(channels, np.float32)
    bias = lowering.constant(value)
    if bias is None:
        raise UnsupportedError("bias must be constant")
    return bias


def _convolution_3d(lowering: Lowering, node: ir.Node) -> None:
    value = node.inputs[1]
    assert value is not None
    shape = lowering.shape(value)
    if node.attributes.get_int("group", 1) != 1:
        raise UnsupportedError("a grouped 3-D convolution has no TFLite operator")
    made = window(lowering, node, shape[2:])
    source = lowering.tensor(node.inputs[0], layout.channels_last(5))
    options = window_options(made)
    if options["padding"] == "VALID":
        source = padded(lowering, source, made)
    weights = lowering.weight(value, shape, (2, 3, 4, 1, 0))
    bias = lowering.real(f"{node.outputs[0].name}/bias", _bias(lowering, node, shape[0]))
    lowering.finish("CONV_3D", [source, weights, bias], Result(node.outputs[0], layout.channels_last(5)), **options)
