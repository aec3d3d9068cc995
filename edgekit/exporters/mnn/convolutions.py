"""Everything with constant weights becomes a two-dimensional convolution that MNN neither splits nor renames."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from edgekit.exporters.mnn.editor import Array, GraphEditor, constant_array, fused_activation, only_user, static_shape
from edgekit.exporters.mnn.strip import FloatGraph

_POINTWISE = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1], "group": 1}


@dataclass(frozen=True)
class _Kernel:
    """The constants of a layer: ``scales`` are its weight's, None when it is not quantized."""

    weight: Array
    scales: Array | None
    bias: ir.Value | None


@dataclass(frozen=True)
class _Convolution:
    """A node to build: it reads ``source`` as an image of ``input_shape`` and makes one of ``output_shape``."""

    op_type: str
    source: ir.Value
    input_shape: Sequence[int]
    output_shape: Sequence[int]
    attributes: Mapping[str, Any]


def two_dimensional(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """A one-dimensional (transposed) convolution becomes one over images of height 1.

    Given:  x[N,C,L] -> Conv (-> Relu) -> y[N,M,K]
    Result: x -> Reshape[N,C,1,L] -> Conv (-> Relu) -> Reshape[N,M,K] -> y
    """
    source, value = node.inputs[0], node.inputs[1]
    weight = constant_array(value)
    if source is None or value is None or weight is None or weight.ndim != 3:
        return
    batch, channels, length = static_shape(source)
    batch, units, width = static_shape(node.outputs[0])
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    for name, neutral in (("strides", 1), ("dilations", 1), ("output_padding", 0)):
        if name in attributes:
            attributes[name] = [neutral, *attributes[name]]
    attributes["kernel_shape"] = [1, weight.shape[2]]
    if "pads" in attributes:
        begin, end = attributes["pads"]
        attributes["pads"] = [0, begin, 0, end]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    kernel = _Kernel(weight[:, :, None, :], stripped.weights.get(value.name or ""), bias)
    shapes = (batch, channels, 1, length), (batch, units, 1, width)
    _build(editor, stripped, node, kernel, _Convolution(node.op_type, source, *shapes, attributes))


def dense(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """A fully connected layer becomes a 1x1 convolution.

    Given:  x[..., K] -> Gemm or MatMul (-> Add of a bias) (-> Relu) -> y[..., M]
    Result: x -> Reshape[P,K,1,1] -> Conv (-> Relu) -> Reshape[..., M] -> y
    """
    source, value = node.inputs[0], node.inputs[1]
    weight = constant_array(value)
    if source is None or value is None or weight is None or weight.ndim != 2 or weight.dtype != np.float32:
        return
    transposed = node.op_type == "Gemm" and bool(node.attributes.get_int("transB", 0))
    matrix = weight if transposed else weight.T
    units, depth = matrix.shape
    last, bias = _find_bias(editor, node, units)
    rows = math.prod(static_shape(source)[:-1])
    kernel = _Kernel(np.ascontiguousarray(matrix)[:, :, None, None], stripped.weights.get(value.name or ""), bias)
    shapes = (rows, depth, 1, 1), (rows, units, 1, 1)
    _build(editor, stripped, last, kernel, _Convolution("Conv", source, *shapes, _POINTWISE))


def ungroup(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """A grouped convolution becomes one convolution for each group, or a depthwise one of repeated channels.

    MNN would split it too, into names that no scales can be given for; its own grouped int8 kernel computes garbage.
    """
    source, value = node.inputs[0], node.inputs[1]
    weight = constant_array(value)
    groups = node.attributes.get_int("group", 1)
    if groups == 1 or source is None or weight is None or weight.ndim != 4 or groups == weight.shape[0]:
        return
    if groups == static_shape(source)[1]:
        _repeat_channels(editor, stripped, node)
    else:
        _split_groups(editor, stripped, node)


def _find_bias(editor: GraphEditor, node: ir.Node, units: int) -> tuple[ir.Node, ir.Value | None]:
    # The last node of what becomes the convolution, and its bias: Gemm's own, or that of an Add right behind a MatMul.
    last, bias = node, node.inputs[2] if len(node.inputs) > 2 else None
    user = only_user(node.outputs[0])
    if node.op_type == "MatMul" and user is not None and user.op_type == "Add":
        other = user.inputs[1] if user.inputs[0] is node.outputs[0] else user.inputs[0]
        array = constant_array(other)
        if array is not None and array.size == units and (array.shape[-1:] == (units,) or units == 1):
            last, bias = user, other
    array = constant_array(bias)
    if bias is None or array is None or array.shape == (units,):
        return last, bias
    return last, editor.constant(np.broadcast_to(array.reshape(-1), (units,)).copy(), f"{bias.name}_vector")


def _build(
    editor: GraphEditor, stripped: FloatGraph, last: ir.Node, kernel: _Kernel, convolution: _Convolution
) -> None:
    # Puts the convolution in the place of everything up to ``last`` and the activation behind it.
    activation = fused_activation(last.outputs[0])
    end = activation or last
    final = end.outputs[0]
    source = convolution.source
    image = editor.reshape(end, source, convolution.input_shape, f"{source.name}_image")
    stripped.inherit(image, source)
    weight = editor.constant(kernel.weight, f"{final.name}_weight")
    if kernel.scales is not None:
        stripped.weights[weight.name or ""] = kernel.scales
    inputs = [image, weight] if kernel.bias is None else [image, weight, kernel.bias]
    shape = convolution.output_shape
    value = editor.node(
        end, convolution.op_type, inputs, convolution.attributes, shape=shape, name=f"{final.name}_convolution"
    )
    if activation is not None:
        inputs = [value, *[bound for bound in activation.inputs[1:] if bound is not None]]
        value = editor.node(end, activation.op_type, inputs, shape=shape, name=f"{final.name}_activation")
    stripped.inherit(value, final)
    editor.replace(final, editor.reshape(end, value, static_shape(final), f"{final.name}_reshaped"))


def _repeat_channels(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    # Depthwise with a multiplier m: repeat every channel m times (MNN copies int8) and convolve each once.
    source, weight = node.inputs[0], constant_array(node.inputs[1])
    assert source is not None and weight is not None
    batch, channels, *size = static_shape(source)
    units, name = weight.shape[0], source.name
    times = units // channels
    single = editor.reshape(node, source, (batch, channels, 1, math.prod(size)), f"{name}_single")
    shape = (batch, channels, times, math.prod(size))
    repeated = editor.node(node, "Concat", [single] * times, {"axis": 2}, shape=shape, name=f"{name}_repeated")
    image = editor.reshape(node, repeated, (batch, units, *size), f"{name}_channels")
    for value in (single, repeated, image):
        stripped.inherit(value, source)
    node.replace_input_with(0, image)
    node.attributes["group"] = ir.AttrInt64("group", units)


def _split_groups(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    # Given: x -> Conv(group=2) -> Relu -> y.  Result: x -> Split -> [Conv -> Relu, Conv -> Relu] -> Concat -> y
    source, value, bias = (
        node.inputs[0],
        node.inputs[1],
        constant_array(node.inputs[2] if len(node.inputs) > 2 else None),
    )
    weight = constant_array(value)
    assert source is not None and value is not None and weight is not None
    groups = node.attributes.get_int("group", 1)
    activation = fused_activation(node.outputs[0])
    end = activation or node
    final = end.outputs[0]
    attributes = {name: attribute.value for name, attribute in node.attributes.items()} | {"group": 1}
    scales = stripped.weights.get(value.name or "")
    batch, units, *size = static_shape(final)
    parts = []
    for group, part in enumerate(_slice_channels(editor, stripped, end, source, groups)):
        rows = slice(group * units // groups, (group + 1) * units // groups)
        inputs = [part, editor.constant(weight[rows], f"{final.name}_weight_{group}")]
        if scales is not None:
            stripped.weights[inputs[1].name or ""] = scales[rows] if scales.size == units else scales
        if bias is not None:
            inputs.append(editor.constant(bias[rows], f"{final.name}_bias_{group}"))
        shape = (batch, units // groups, *size)
        output = editor.node(end, "Conv", inputs, attributes, shape=shape, name=f"{final.name}_group_{group}")
        if activation is not None:
            inputs = [output, *[value for value in activation.inputs[1:] if value is not None]]
            output = editor.node(end, activation.op_type, inputs, shape=shape, name=f"{final.name}_activation_{group}")
        stripped.inherit(output, final)
        parts.append(output)
    joined = editor.node(end, "Concat", parts, {"axis": 1}, shape=(batch, units, *size), name=f"{final.name}_joined")
    editor.replace(final, joined)


def _slice_channels(
    editor: GraphEditor, stripped: FloatGraph, before: ir.Node, source: ir.Value, groups: int
) -> list[ir.Value]:
    batch, channels, *size = static_shape(source)
    width = channels // groups
    axis = editor.integers([1], f"{source.name}_axis")
    parts = []
    for group in range(groups):
        name = f"{source.name}_group_{group}"
        start = editor.integers([group * width], f"{name}_start")
        end = editor.integers([(group + 1) * width], f"{name}_end")
        part = editor.node(before, "Slice", [source, start, end, axis], shape=(batch, width, *size), name=name)
        stripped.inherit(part, source)
        parts.append(part)
    return parts
