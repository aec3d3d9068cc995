"""Ways around int8 kernels of MNN that compute something else than the network asks for.

MNN decides by itself what runs in int8: whatever has a kernel and quantized neighbours; quantization even spreads through
poolings and copies. Measured with MNN 3.6.1 (and read in its source, ``CPUBackend.cpp``, ``Pipeline.cpp``):

- Max, Min and MaxPool compare the bytes of x86's offset codes as if they were signed: garbage.
- AveragePool rounds down: half a step of bias on every value, which grows to several steps in the next layer.
- A Relu fused into an Add, Sub or Mul clamps the codes at 0 instead of at the zero point.
- A depthwise convolution truncates its bias and its output's zero point to whole steps of the accumulator, and takes weight scales
  below 1e-6 for 1e-6.
"""

import numpy as np
import onnx_ir as ir

from edgekit.exporters.mnn.editor import GraphEditor, constant_array, fused_activation, only_user, static_shape
from edgekit.exporters.mnn.strip import FloatGraph

_LOWEST = np.float32(-3.4e38)
_LEAST_DEPTHWISE_SCALE = 1e-6
# float32 has no fractions beyond.
_LARGEST_FRACTION = 2**22


def in_float(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """Run an elementwise operator in float: one input without scales is enough.

    Given:  a, b -> Max -> y
    Result: a -> Max(lowest float) -> a', b -> Max -> y
    """
    source = node.inputs[0]
    if source is not None and _is_quantized(stripped, node):
        node.replace_input_with(0, _barrier(editor, node, source, f"{source.name}_float"))


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
    source, output = node.inputs[0], node.outputs[0]
    if source is None or not _is_quantized(stripped, node):
        return
    op_type = {"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}[node.op_type]
    axes = editor.integers(range(2, len(static_shape(source))), f"{output.name}_axes")
    reduced = editor.node(
        node, op_type, [source, axes], {"keepdims": 1}, shape=static_shape(output), name=f"{output.name}_reduced"
    )
    editor.replace(output, reduced)


def relu(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """A Relu that MNN does not fuse into a convolution becomes a Clip, which MNN fuses into nothing and runs in float.

    Given:  a, b -> Add -> Relu -> y
    Result: a, b -> Add (with y's scales: it saturates at 0) -> Clip(0, ) -> y
    """
    source, output = node.inputs[0], node.outputs[0]
    if source is None:
        return
    _saturate(stripped, source, output)
    producer = source.producer()
    fuses = producer is not None and producer.op_type in ("Conv", "ConvTranspose") and only_user(source) is node
    if not fuses:
        zero = editor.constant(np.array(0, np.float32), f"{output.name}_lowest")
        clipped = editor.node(node, "Clip", [source, zero], shape=static_shape(output), name=f"{output.name}_clipped")
        editor.replace(output, clipped)


def clip(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """What is clipped gets the scales of the result, at whose ends its integers saturate."""
    if node.inputs[0] is not None:
        _saturate(stripped, node.inputs[0], node.outputs[0])


def depthwise(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """Nudge a depthwise convolution's bias so that MNN's truncations give the nearest integers.

    MNN starts the accumulator at ``trunc(bias / unit) + trunc(zero_point / ratio)``; wanted is ``round(bias / unit + zero_point /
    ratio)``. The nudge is at most 1.25 units, a few hundredths of an output step.
    """
    source, weight, output = node.inputs[0], node.inputs[1], node.outputs[0]
    if source is None or weight is None:
        return
    activation = fused_activation(output)
    final = activation.outputs[0] if activation is not None else output
    quantized, produced = stripped.activations.get(source.name or ""), stripped.activations.get(final.name or "")
    scales = stripped.weights.get(weight.name or "")
    units = static_shape(weight)[0]
    if quantized is None or produced is None or scales is None or node.attributes.get_int("group", 1) != units or units == 1:
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


def _saturate(stripped: FloatGraph, source: ir.Value, output: ir.Value) -> None:
    if source.name not in stripped.activations and only_user(source) is not None and not source.is_graph_input():
        stripped.inherit(source, output)


def _is_quantized(stripped: FloatGraph, node: ir.Node) -> bool:
    return any(value is not None and value.name in stripped.activations for value in (*node.inputs, *node.outputs))


def _barrier(editor: GraphEditor, before: ir.Node, value: ir.Value, name: str) -> ir.Value:
    # An identity that MNN's converter does not remove and that has no scales: a constant without them makes it float.
    lowest = editor.constant(np.array(_LOWEST), f"{name}_lowest")
    return editor.node(before, "Max", [value, lowest], shape=static_shape(value), name=name)
