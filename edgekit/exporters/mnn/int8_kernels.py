"""Ways around int8 kernels of MNN that compute something else than the network asks for.

MNN decides by itself what runs in int8: whatever has a kernel and quantized neighbours; quantization even spreads
through poolings and copies. Measured with MNN 3.6.1, and read in its source (``CPUBackend.cpp``, ``Pipeline.cpp``):

- Max, Min and MaxPool compare the bytes of x86's offset codes as if they were signed: garbage.
- AveragePool rounds down: half a step of bias on every value, which grows to several steps in the next layer.
- A Relu fused into an Add, Sub or Mul clamps the codes at 0 instead of at the zero point.
- A depthwise convolution truncates its bias and its output's zero point to whole steps of the accumulator, and takes
  weight scales below 1e-6 for 1e-6 (``CPUConvolution.cpp``, ``updateInputOutputScale``).
- On ARM CPUs with i8mm (phones since 2022) a convolution works on two pixels and two blocks of four channels at a time;
  of an odd number of pixels and an odd number of blocks it gets the last ones wrong: garbage from every
  classifier of 10 classes. Seen in qemu 7.2 and 10 (``edgekit verify --emulate --cpu i8mm``).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from edgekit.exporters.mnn.editor import Array, GraphEditor, constant_array, fused_activation, only_user, static_shape
from edgekit.exporters.mnn.strip import FloatGraph

_LOWEST = np.float32(-3.4e38)
_LEAST_DEPTHWISE_SCALE = 1e-6
# float32 has no fractions beyond.
_LARGEST_FRACTION = 2**22
# A larger average costs more bytes of weights than its conversions to float and back cost time.
_MAX_TAPS = 16
_BLOCK = 4
"""Channels that MNN keeps together."""

_POINTWISE = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1]}


def in_float(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """Run an elementwise operator in float: one input without scales is enough.

    Given:  a, b -> Max -> y
    Result: a -> Max(lowest float) -> a', b -> Max -> y
    """
    source = node.inputs[0]
    if source is not None and _is_quantized(stripped, node):
        node.replace_input_with(0, _barrier(editor, node, source, f"{source.name}_float"))


def average_pool(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """An AveragePool becomes a reduction, a depthwise convolution, or runs in float, in this order of preference.

    Given:  x[N,C,H,W] -> AveragePool(2x2) -> y
    Result: x -> Conv(group=C, every weight 1/4) -> y
    """
    source, output = node.inputs[0], node.outputs[0]
    if source is None or not _is_quantized(stripped, node):
        return
    kernel = tuple(node.attributes.get_ints("kernel_shape", []))
    padded = any(node.attributes.get_ints("pads", []))
    counts_pads = bool(node.attributes.get_int("count_include_pad", 0))
    if kernel == static_shape(source)[2:] and not padded:
        _reduce(editor, node, "ReduceMean")
    elif len(kernel) == 2 and math.prod(kernel) <= _MAX_TAPS and (counts_pads or not padded) and not _extends(node):
        names = ("kernel_shape", "strides", "pads", "dilations")
        attributes = {name: node.attributes[name].value for name in names if name in node.attributes}
        averaged = _depthwise(editor, stripped, node, source, attributes)
        editor.replace(output, averaged)
    else:
        pool_in_float(editor, stripped, node)


def pool_in_float(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """Run a pooling in float: barriers before and behind keep the scales from spreading into it.

    Given:  x -> MaxPool -> y
    Result: x -> Max(lowest float) -> MaxPool -> Max(lowest float) -> y
    """
    source, output = node.inputs[0], node.outputs[0]
    if source is None or not _is_quantized(stripped, node):
        return
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    before = _barrier(editor, node, source, f"{source.name}_float")
    pooled = editor.node(
        node, node.op_type, [before], attributes, shape=static_shape(output), name=f"{output.name}_float"
    )
    editor.replace(output, _barrier(editor, node, pooled, f"{output.name}_pooled"))


def reduce_globally(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """A global pooling becomes a reduction, which runs in float and rounds right.

    Given:  x[N,C,H,W] -> GlobalAveragePool -> y
    Result: x -> ReduceMean(axes 2, 3) -> y
    """
    if _is_quantized(stripped, node):
        _reduce(editor, node, {"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}[node.op_type])


def rectify(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """A Relu or Relu6 that stands alone gets an identity convolution to be fused into, an int8 kernel like any other.

    Given:  a, b -> Add -> Relu -> y
    Result: a, b -> Add (with y's scales) -> Conv(group=C, every weight 1) -> Relu -> y
    """
    source, output = node.inputs[0], node.outputs[0]
    if source is None:
        return
    if source.name not in stripped.activations and only_user(source) is node:
        # What is clipped saturates at the ends of the clipped result's integers.
        stripped.inherit(source, output)
    producer = source.producer()
    if producer is not None and producer.op_type in ("Conv", "ConvTranspose") and only_user(source) is node:
        return
    if len(static_shape(output)) == 4 and _is_fusible(node) and _is_quantized(stripped, node):
        node.replace_input_with(0, _depthwise(editor, stripped, node, source, _POINTWISE))
    elif node.op_type == "Relu":
        # MNN would fuse it wrongly; it fuses no Clip without an upper end.
        zero = editor.constant(np.array(0, np.float32), f"{output.name}_lowest")
        clipped = editor.node(node, "Clip", [source, zero], shape=static_shape(output), name=f"{output.name}_clipped")
        editor.replace(output, clipped)


def depthwise(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """Nudge a depthwise convolution's bias so that MNN's truncations give the nearest integers.

    MNN starts the accumulator at ``trunc(bias / unit) + trunc(zero_point / ratio)``; wanted is
    ``round(bias / unit + zero_point / ratio)``. The nudge is at most 1.25 units, a few hundredths of an output step.
    """
    source, weight, output = node.inputs[0], node.inputs[1], node.outputs[0]
    if source is None or weight is None:
        return
    activation = fused_activation(output)
    final = activation.outputs[0] if activation is not None else output
    quantized, produced = stripped.activations.get(source.name or ""), stripped.activations.get(final.name or "")
    scales = stripped.weights.get(weight.name or "")
    units = static_shape(weight)[0]
    if (
        quantized is None
        or produced is None
        or scales is None
        or node.attributes.get_int("group", 1) != units
        or units == 1
    ):
        return
    scales = np.broadcast_to(np.maximum(scales, np.float32(_LEAST_DEPTHWISE_SCALE)), (units,))
    stripped.weights[weight.name or ""] = scales
    bias = constant_array(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(units, np.float32)
    assert bias is not None
    ratio = scales * np.float32(np.float32(quantized.scale) / np.float32(produced.scale))
    offset = (np.float32(produced.zero_point) / ratio).astype(np.float64)
    unit = np.float64(quantized.scale) * scales.astype(np.float64)
    steps = np.rint(bias / unit + offset) - np.trunc(offset)
    steps += np.where(np.abs(steps) < _LARGEST_FRACTION, 0.25 * np.sign(steps), 0)
    nudged = editor.constant((steps * unit).astype(np.float32), f"{final.name}_bias")
    node.resize_inputs(3)
    node.replace_input_with(2, nudged)


def even_blocks(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """Give a convolution of an odd number of pixels an even number of blocks of channels; the added ones are cut off.

    Given:  x[N,C,1,1] -> Conv(10 channels: 3 blocks) (-> Relu) -> y
    Result: x -> Conv(16 channels: 4 blocks) (-> Relu) -> Slice(10 channels) -> y
    """
    value, weight, produced = node.inputs[1], constant_array(node.inputs[1]), node.outputs[0]
    scales = stripped.weights.get(value.name or "") if value is not None else None
    shape = static_shape(produced)
    pixels, blocks = math.prod(shape[2:]), -(-shape[1] // _BLOCK)
    if weight is None or scales is None or node.attributes.get_int("group", 1) != 1 or not pixels % 2 or not blocks % 2:
        return
    units, added = shape[1], (blocks + 1) * _BLOCK - shape[1]
    activation = fused_activation(produced)
    final = produced if activation is None else activation.outputs[0]
    wider = editor.constant(_widened(weight, added, 0), f"{final.name}_wide_weight")
    stripped.weights[wider.name or ""] = _widened(np.broadcast_to(scales, (units,)), added, 1)
    inputs: list[ir.Value | None] = [node.inputs[0], wider]
    bias = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is not None:
        inputs.append(editor.constant(_widened(bias, added, 0), f"{final.name}_wide_bias"))
    wide = (shape[0], units + added, *shape[2:])
    end = activation or node
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    made = editor.node(end, "Conv", inputs, attributes, shape=wide, name=f"{final.name}_wide")
    if activation is not None:
        inputs = [made, *activation.inputs[1:]]
        made = editor.node(end, activation.op_type, inputs, shape=wide, name=f"{final.name}_wide_activation")
    stripped.inherit(made, final)
    bounds = [
        editor.integers([number], f"{final.name}_{name}") for name, number in (("from", 0), ("to", units), ("axis", 1))
    ]
    editor.replace(final, editor.node(end, "Slice", [made, *bounds], shape=shape, name=f"{final.name}_narrow"))


def _widened(array: Array, added: int, value: float) -> Array:
    """``array`` with ``added`` more rows of ``value``."""
    return np.pad(array, [(0, added)] + [(0, 0)] * (array.ndim - 1), constant_values=value)


def _is_quantized(stripped: FloatGraph, node: ir.Node) -> bool:
    return any(value is not None and value.name in stripped.activations for value in (*node.inputs, *node.outputs))


def _barrier(editor: GraphEditor, before: ir.Node, value: ir.Value, name: str) -> ir.Value:
    # An identity that MNN's converter does not remove and that has no scales: a constant without them makes it float.
    lowest = editor.constant(np.array(_LOWEST), f"{name}_lowest")
    return editor.node(before, "Max", [value, lowest], shape=static_shape(value), name=name)


def _reduce(editor: GraphEditor, node: ir.Node, op_type: str) -> None:
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    axes = editor.integers(range(2, len(static_shape(source))), f"{output.name}_axes")
    shape = static_shape(output)
    editor.replace(
        output, editor.node(node, op_type, [source, axes], {"keepdims": 1}, shape=shape, name=f"{output.name}_reduced")
    )


def _depthwise(
    editor: GraphEditor, stripped: FloatGraph, node: ir.Node, source: ir.Value, attributes: Mapping[str, Any]
) -> ir.Value:
    # A depthwise convolution whose equal weights sum to 1; each of them is the code 127.
    name, channels = node.outputs[0].name, static_shape(source)[1]
    kernel = attributes["kernel_shape"]
    taps = math.prod(kernel)
    weight = editor.constant(np.full((channels, 1, *kernel), 1 / taps, np.float32), f"{name}_ones")
    stripped.weights[weight.name or ""] = np.full(channels, 1 / (127 * taps), np.float32)
    shape = static_shape(node.outputs[0])
    attributes = {**attributes, "group": channels}
    value = editor.node(node, "Conv", [source, weight], attributes, shape=shape, name=f"{name}_depthwise")
    stripped.inherit(value, node.outputs[0])
    return value


def _is_fusible(node: ir.Node) -> bool:
    if node.op_type == "Relu":
        return True
    bounds = [constant_array(value) for value in node.inputs[1:]]
    return len(bounds) == 2 and all(
        bound is not None and float(bound) == wanted for bound, wanted in zip(bounds, (0.0, 6.0), strict=True)
    )


def _extends(node: ir.Node) -> bool:
    # With ceil_mode, the last windows may reach beyond the padded image and count less.
    return bool(node.attributes.get_int("ceil_mode", 0))
