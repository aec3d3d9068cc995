"""Operators that MNN's converter does not know, or converts wrongly without a word, in operators that it gets right."""

import math

import numpy as np
import onnx_ir as ir

from edgekit.exporters.mnn.editor import GraphEditor, constant_array, static_shape
from edgekit.exporters.mnn.strip import FloatGraph

_ONE = np.array(1, np.float32)


def general_gemm(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """A Gemm that is no fully connected layer becomes ``alpha * (A' @ B') + beta * C``; MNN ignores ``transA``."""
    left, right = node.inputs[0], node.inputs[1]
    if left is None or right is None:
        return
    alpha, beta = node.attributes.get_float("alpha", 1.0), node.attributes.get_float("beta", 1.0)
    bias = constant_array(node.inputs[2] if len(node.inputs) > 2 else None)
    units = static_shape(node.outputs[0])[1]
    vector_bias = len(node.inputs) < 3 or (
        bias is not None and bias.size in (1, units) and bias.shape[:-1] in ((), (1,))
    )
    if (
        constant_array(right) is not None
        and alpha == beta == 1.0
        and not node.attributes.get_int("transA", 0)
        and vector_bias
    ):
        return
    output = node.outputs[0]
    name, shape = output.name or "gemm", static_shape(output)
    matrices = [_transposed(editor, node, value, flag) for value, flag in ((left, "transA"), (right, "transB"))]
    result = editor.node(node, "MatMul", matrices, shape=shape, name=f"{name}_product")
    if alpha != 1.0:
        result = _scaled(editor, node, result, alpha, f"{name}_scaled")
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        addend = node.inputs[2] if beta == 1.0 else _scaled(editor, node, node.inputs[2], beta, f"{name}_addend")
        result = editor.node(node, "Add", [result, addend], shape=shape, name=f"{name}_sum")
    editor.replace(output, result)


def gelu(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """``x * (1 + erf(x / sqrt(2))) * 0.5``: the form that MNN fuses; of a Gelu it computes the tanh approximation."""
    source, output = node.inputs[0], node.outputs[0]
    if source is None or node.attributes.get_string("approximate", "none") != "none":
        return
    shape, name = static_shape(output), output.name
    root, one = editor.constant(np.array(2**0.5, np.float32), f"{name}_root"), editor.constant(_ONE, f"{name}_one")
    divided = editor.node(node, "Div", [source, root], shape=shape, name=f"{name}_divided")
    erf = editor.node(node, "Erf", [divided], shape=shape, name=f"{name}_erf")
    factor = editor.node(node, "Add", [erf, one], shape=shape, name=f"{name}_factor")
    product = editor.node(node, "Mul", [source, factor], shape=shape, name=f"{name}_product")
    editor.replace(output, _scaled(editor, node, product, 0.5, f"{name}_halved"))


def less(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """``a < b`` is ``b > a``, which MNN gets right for two tensors."""
    output = node.outputs[0]
    greater = editor.node(node, "Greater", node.inputs[::-1], shape=static_shape(output), name=f"{output.name}_greater")
    greater.dtype = ir.DataType.BOOL
    editor.replace(output, greater)


def cast_to_bool(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """What is not equal to 0 is true; MNN's Cast keeps the number."""
    source, output = node.inputs[0], node.outputs[0]
    if source is None or node.attributes.get_int("to", 0) != ir.DataType.BOOL or source.dtype is None:
        return
    zero = editor.constant(np.array(0, source.dtype.numpy()), f"{output.name}_zero")
    shape = static_shape(output)
    equal = editor.node(node, "Equal", [source, zero], shape=shape, name=f"{output.name}_equal")
    unequal = editor.node(node, "Not", [equal], shape=shape, name=f"{output.name}_unequal")
    equal.dtype = unequal.dtype = ir.DataType.BOOL
    editor.replace(output, unequal)


def mish(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """``x * tanh(softplus(x))``."""
    source, output = node.inputs[0], node.outputs[0]
    shape = static_shape(output)
    softplus = editor.node(node, "Softplus", [source], shape=shape, name=f"{output.name}_softplus")
    tanh = editor.node(node, "Tanh", [softplus], shape=shape, name=f"{output.name}_tanh")
    editor.replace(output, editor.node(node, "Mul", [source, tanh], shape=shape, name=f"{output.name}_product"))


def mean(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """The sum of the inputs over their number."""
    output = node.outputs[0]
    shape = static_shape(output)
    total = node.inputs[0]
    for value in node.inputs[1:]:
        total = editor.node(node, "Add", [total, value], shape=shape, name=f"{output.name}_sum")
    assert total is not None
    editor.replace(output, _scaled(editor, node, total, 1 / len(node.inputs), f"{output.name}_mean"))


def group_normalization(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """Groups become the channels of an InstanceNormalization; scale and bias are applied per channel behind it."""
    source, scale, bias = node.inputs[:3]
    output = node.outputs[0]
    assert source is not None
    shape, name = static_shape(source), output.name
    groups = node.attributes.get_int("num_groups", 1)
    grouped = editor.reshape(node, source, (shape[0], groups, math.prod(shape[1:]) // groups), f"{name}_groups")
    ones = editor.constant(np.ones(groups, np.float32), f"{name}_ones")
    zeros = editor.constant(np.zeros(groups, np.float32), f"{name}_zeros")
    epsilon = {"epsilon": node.attributes.get_float("epsilon", 1e-5)}
    inputs = [grouped, ones, zeros]
    normal = editor.node(
        node, "InstanceNormalization", inputs, epsilon, shape=static_shape(grouped), name=f"{name}_normal"
    )
    result = editor.reshape(node, normal, shape, f"{name}_ungrouped")
    channels = (1, shape[1], *[1] * (len(shape) - 2))
    for op_type, value in (("Mul", scale), ("Add", bias)):
        assert value is not None
        array = constant_array(value)
        if array is not None:
            factor = editor.constant(array.reshape(channels), f"{value.name}_channels")
        else:
            factor = editor.reshape(node, value, channels, f"{value.name}_channels")
        result = editor.node(node, op_type, [result, factor], shape=shape, name=f"{name}_{op_type.lower()}")
    editor.replace(output, result)


def reduction(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """ReduceL1, L2, SumSquare, LogSum and LogSumExp around ReduceSum; MNN ignores the axes of the others."""
    source, output, kind = node.inputs[0], node.outputs[0], node.op_type
    assert source is not None
    shape, full = static_shape(output), static_shape(source)
    before = {"ReduceL1": "Abs", "ReduceLogSumExp": "Exp"}.get(kind)
    value = source
    if before is not None:
        value = editor.node(node, before, [source], shape=full, name=f"{output.name}_{before.lower()}")
    elif kind in ("ReduceL2", "ReduceSumSquare"):
        value = editor.node(node, "Mul", [source, source], shape=full, name=f"{output.name}_square")
    axes = node.inputs[1:] or [editor.integers(range(len(full)), f"{output.name}_axes")]
    attributes = {"keepdims": node.attributes.get_int("keepdims", 1)}
    result = editor.node(node, "ReduceSum", [value, *axes], attributes, shape=shape, name=f"{output.name}_sum")
    behind = {"ReduceL2": "Sqrt", "ReduceLogSum": "Log", "ReduceLogSumExp": "Log"}.get(kind)
    if behind is not None:
        result = editor.node(node, behind, [result], shape=shape, name=f"{output.name}_{behind.lower()}")
    editor.replace(output, result)


def split(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """Sizes spelled out: MNN gives ``num_outputs`` parts the wrong ones when they differ."""
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        return
    source = node.inputs[0]
    assert source is not None
    axis = node.attributes.get_int("axis", 0) % len(static_shape(source))
    sizes = editor.integers([static_shape(value)[axis] for value in node.outputs], f"{node.outputs[0].name}_sizes")
    node.resize_inputs(2)
    node.replace_input_with(1, sizes)
    node.attributes.pop("num_outputs", None)


def pad(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """Pads for every axis, none negative: MNN ignores the axes' input, and negative pads corrupt its memory."""
    source, output, amounts = node.inputs[0], node.outputs[0], constant_array(node.inputs[1])
    if source is None or amounts is None:
        return
    rank = len(static_shape(source))
    given = constant_array(node.inputs[3]) if len(node.inputs) > 3 else None
    axes = [int(axis) % rank for axis in given] if given is not None else list(range(rank))
    begins, ends = [0] * rank, [0] * rank
    for axis, begin, end in zip(axes, amounts[: len(axes)], amounts[len(axes) :], strict=True):
        begins[axis], ends[axis] = int(begin), int(end)
    if axes == list(range(rank)) and min(*begins, *ends) >= 0:
        node.resize_inputs(min(len(node.inputs), 3))
        return
    cropped = _crop(editor, node, source, [max(-b, 0) for b in begins], [max(-e, 0) for e in ends])
    stripped.inherit(cropped, source)
    positive = [max(b, 0) for b in begins] + [max(e, 0) for e in ends]
    inputs = [cropped, editor.integers(positive, f"{output.name}_pads"), *node.inputs[2:3]]
    attributes = {"mode": node.attributes.get_string("mode", "constant")}
    padded = editor.node(node, "Pad", inputs, attributes, shape=static_shape(output), name=f"{output.name}_padded")
    editor.replace(output, padded)


def log_softmax(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """The axis spelled out: without it, MNN's converter crashes."""
    node.attributes.setdefault("axis", ir.AttrInt64("axis", -1))


def _crop(editor: GraphEditor, node: ir.Node, value: ir.Value, begins: list[int], ends: list[int]) -> ir.Value:
    if not any(begins) and not any(ends):
        return value
    sizes = static_shape(value)
    stops = [size - end for size, end in zip(sizes, ends, strict=True)]
    name = f"{value.name}_cropped"
    bounds = [editor.integers(begins, f"{name}_begins"), editor.integers(stops, f"{name}_ends")]
    shape = [stop - begin for begin, stop in zip(begins, stops, strict=True)]
    return editor.node(node, "Slice", [value, *bounds], shape=shape, name=name)


def _transposed(editor: GraphEditor, node: ir.Node, value: ir.Value, flag: str) -> ir.Value:
    if not node.attributes.get_int(flag, 0):
        return value
    rows, columns = static_shape(value)
    return editor.node(
        node, "Transpose", [value], {"perm": [1, 0]}, shape=(columns, rows), name=f"{value.name}_transposed"
    )


def _scaled(editor: GraphEditor, node: ir.Node, value: ir.Value, factor: float, name: str) -> ir.Value:
    constant = editor.constant(np.array(factor, np.float32), f"{name}_factor")
    return editor.node(node, "Mul", [value, constant], shape=static_shape(value), name=name)
