"""ConvTranspose: TRANSPOSE_CONV."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.exporters.tflite import layout
from edgekit.exporters.tflite.layout import Shape
from edgekit.exporters.tflite.lowering import Lowering, Result
from edgekit.exporters.tflite.model import Array, Options, Quantization, Tensor, constant, shape_constant
from edgekit.exporters.tflite.ops.convolution import bias_tensor, has_int8_weights
from edgekit.exporters.tflite.ops.registry import Wants, lowers
from edgekit.exporters.tflite.ops.spatial import image, image_shape

_OHWI = (1, 2, 3, 0)


def _int8_transposed(lowering: Lowering, node: ir.Node) -> bool:
    return has_int8_weights(lowering, node) and lowering.rank(node.inputs[0]) < 5


@lowers("ConvTranspose", int8=_int8_transposed, fuses=True, wants=Wants.CHANNELS_LAST)
def transposed_convolution(lowering: Lowering, node: ir.Node) -> None:
    """TRANSPOSE_CONV; a crop follows when the paddings are not those of SAME or VALID.

    TRANSPOSE_CONV has neither groups nor dilation: groups become one dense kernel with zero blocks, dilation a kernel
    with zeros between its taps.
    """
    if lowering.rank(node.inputs[0]) not in (3, 4) or not lowering.is_constant(node.inputs[1]):
        raise UnsupportedError("only 1-D and 2-D transposed convolutions with constant weights have a TFLite operator")
    source = image(lowering, node.inputs[0])
    weights = _weights(lowering, node)
    strides = _pair(node.attributes.get_ints("strides", (1, 1)))
    output = image_shape(lowering, node.outputs[0])
    before = _before(node, source.shape[1:3], output[1:3], strides, weights.shape[1:3])
    padding, made = _padding(source.shape[1:3], output[1:3], strides, weights.shape[1:3], before)
    inputs: list[Tensor | None] = [None, weights, source]
    if lowering.optional(node, 2) is not None:
        inputs.append(bias_tensor(lowering, node, lowering.required(node, 2), source, weights))
    options: Options = {"padding": padding, "stride_h": strides[0], "stride_w": strides[1]}
    label = layout.channels_last(lowering.rank(node.outputs[0]))
    shape = (output[0], *made, output[3])
    inputs[0] = shape_constant(shape)
    if made == output[1:3]:
        lowering.finish("TRANSPOSE_CONV", inputs, Result(node.outputs[0], label, through=output), **options)
        return
    like = Tensor(node.outputs[0].name or "", shape, source.dtype, lowering.output_quantization(node))
    options["fused_activation_function"], value = lowering.fuse(node.outputs[0])
    whole = lowering.emit("TRANSPOSE_CONV", inputs, shape, like=like, **options)
    begin, size = constant("begin", (0, *before, 0)), constant("size", output)
    lowering.finish("SLICE", [whole, begin, size], Result(value, label, through=output))


def _pair(numbers: Sequence[int]) -> tuple[int, int]:
    return (1, int(numbers[0])) if len(numbers) == 1 else (int(numbers[0]), int(numbers[1]))


def _weights(lowering: Lowering, node: ir.Node) -> Tensor:
    value = node.inputs[1]
    assert value is not None
    shape = lowering.shape(value)
    shape = (*shape[:2], 1, shape[2]) if len(shape) == 3 else shape
    group = node.attributes.get_int("group", 1)
    dilations = _pair(node.attributes.get_ints("dilations", (1, 1)))
    if group == 1 and dilations == (1, 1):
        return lowering.weight(value, shape, _OHWI, hybrid=True)
    codes = lowering.codes(value) if lowering.int8 else None
    array = lowering.required(node, 1) if codes is None else codes.data
    array = _dense(_dilated(array.reshape(shape), dilations), group).transpose(_OHWI)
    name = value.name or "weights"
    if codes is None:
        return lowering.real(name, array)
    own = codes.quantization
    if own.axis is not None:
        scale = own.scale * group
        own = Quantization(scale, (0,) * len(scale), 0)
    return Tensor(name, array.shape, array.dtype, own, np.ascontiguousarray(array))


def _dilated(array: Array, dilations: tuple[int, int]) -> Array:
    height, width = ((k - 1) * d + 1 for k, d in zip(array.shape[2:], dilations, strict=True))
    result = np.zeros((*array.shape[:2], height, width), array.dtype)
    result[:, :, :: dilations[0], :: dilations[1]] = array
    return result


def _dense(array: Array, group: int) -> Array:
    if group == 1:
        return array
    inputs, outputs = array.shape[0] // group, array.shape[1]
    result = np.zeros((array.shape[0], outputs * group, *array.shape[2:]), array.dtype)
    for g in range(group):
        result[g * inputs : (g + 1) * inputs, g * outputs : (g + 1) * outputs] = array[g * inputs : (g + 1) * inputs]
    return result


def _before(node: ir.Node, size: Shape, output: Shape, strides: Shape, kernel: Shape) -> tuple[int, int]:
    """The paddings in front: given, or what auto_pad / output_shape make of the total (ONNX ConvTranspose)."""
    extra = _pair(node.attributes.get_ints("output_padding", (0, 0)))
    if len(node.attributes.get_ints("output_padding", (0, 0))) == 1:
        extra = (0, extra[1])
    pads = node.attributes.get_ints("pads", ())
    auto_pad = node.attributes.get_string("auto_pad", "NOTSET")
    if auto_pad == "NOTSET" and not node.attributes.get_ints("output_shape", ()):
        front = list(pads[: len(pads) // 2]) or [0, 0]
        return (0, front[0]) if len(front) == 1 else (front[0], front[1])
    totals = [
        max(stride * (i - 1) + e + k - o, 0)
        for i, o, stride, k, e in zip(size, output, strides, kernel, extra, strict=True)
    ]
    upper = auto_pad != "SAME_UPPER"
    return (totals[0] - totals[0] // 2, totals[1] - totals[1] // 2) if upper else (totals[0] // 2, totals[1] // 2)


def _padding(
    size: Shape, output: Shape, strides: Shape, kernel: Shape, before: tuple[int, int]
) -> tuple[str, tuple[int, int]]:
    """SAME or VALID, and the height and width that TRANSPOSE_CONV then makes (kernels/transpose_conv.cc)."""
    axes = list(zip(size, output, strides, kernel, before, strict=True))
    if all(i == -(-o // s) and b == max((i - 1) * s + k - o, 0) // 2 for i, o, s, k, b in axes):
        return "SAME", (output[0], output[1])
    made = [max((i - 1) * s + k, b + o) for i, o, s, k, b in axes]
    return "VALID", (made[0], made[1])
