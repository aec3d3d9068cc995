"""Layer normalization and softmax, spelled out, become one op."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgekit.graph.edit import GraphEditor, RewritePass
from edgekit.graph.queries import (
    attribute,
    constant_scalar,
    constant_value,
    input_of,
    is_constant,
    is_op,
    produced_by,
    shape_of,
    single_consumer,
)
from edgekit.passes.canonicalize.products import lines


class FuseLayerNorm(RewritePass):
    """Layer normalization over the last axes (Ba et al. 2016), without and then with its scale and shift.

    Given:
        d = x - mean(x);  Div(d, Sqrt(mean(d²) + eps))      (or times Reciprocal(Sqrt(.)), or x r - mean(x) r as
        TensorFlow has it)
    Result:
        LayerNormalization(x, ones)

    Given:
        LayerNormalization(x, ones) -> Mul(., g[C]) -> Add(., b[C])
    Result:
        LayerNormalization(x, g, b)
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the Div, Mul, Sub or Add that ends the pattern."""
        if not is_op(node, "Div", "Mul", "Add", "Sub"):
            return False
        return _take_parameters(node, editor) or _normalize(node, editor) or _normalize_like_tensorflow(node, editor)


@dataclass(frozen=True, slots=True)
class _Deviation:
    """1 / sqrt(mean((x - mean(x))²) + epsilon) over the axes from ``axis`` on."""

    x: ir.Value
    axis: int
    epsilon: float


def _normalize(node: ir.Node, editor: GraphEditor) -> bool:
    for centered, scale in (node.inputs, node.inputs[::-1]):
        if centered is None or scale is None or (is_op(node, "Div") and centered is not node.inputs[0]):
            continue
        root = scale if is_op(node, "Div") else _reciprocal(scale)
        deviation = _deviation(root) if root is not None and is_op(node, "Div", "Mul") else None
        if deviation is not None and _is_centered(centered, deviation):
            _emit(node, deviation, None, None, editor)
            return True
    return False


def _normalize_like_tensorflow(node: ir.Node, editor: GraphEditor) -> bool:
    """``x (r g) + (b - mean(x) (r g))``: the Add of two terms that share the gain."""
    if not is_op(node, "Add"):
        return False
    for first, second in (node.inputs, node.inputs[::-1]):
        term = produced_by(first, "Mul")
        shift = _shift_term(second)
        if term is None or shift is None:
            continue
        for x, gain in (term.inputs, term.inputs[::-1]):
            if gain is shift.gain and gain is not None and x is not None:
                deviation, parameter = _gain(gain)
                if deviation is not None and deviation.x is x and _is_mean(shift.mean, deviation):
                    return _emit(node, deviation, parameter, shift.bias, editor)
    return False


@dataclass(frozen=True, slots=True)
class _Shift:
    """``bias - mean gain``."""

    bias: ir.Value
    mean: ir.Value
    gain: ir.Value


def _shift_term(value: ir.Value | None) -> _Shift | None:
    node = produced_by(value, "Sub", "Add")
    if node is None:
        return None
    for bias, product in (node.inputs, node.inputs[::-1])[: 1 if node.op_type == "Sub" else 2]:
        product_node = produced_by(product, "Mul")
        if bias is None or not is_constant(bias) or product_node is None:
            continue
        for mean, gain in (product_node.inputs, product_node.inputs[::-1]):
            if node.op_type == "Add":
                negated = (
                    next((line.x for line in lines(mean, 1) if line.multiplier == -1), None)
                    if mean is not None
                    else None
                )
                negative = produced_by(mean, "Neg")
                mean = negative.inputs[0] if negative is not None else negated
            if mean is not None and gain is not None and produced_by(mean, "ReduceMean"):
                return _Shift(bias, mean, gain)
    return None


def _gain(value: ir.Value) -> tuple[_Deviation | None, ir.Value | None]:
    root = _reciprocal(value)
    if root is not None:
        return _deviation(root), None
    node = produced_by(value, "Mul")
    if node is None:
        return None, None
    for scale, parameter in (node.inputs, node.inputs[::-1]):
        root = _reciprocal(scale) if scale is not None else None
        if root is not None and is_constant(parameter):
            return _deviation(root), parameter
    return None, None


def _reciprocal(value: ir.Value) -> ir.Value | None:
    node = produced_by(value, "Reciprocal", "Div")
    if node is None:
        return None
    if node.op_type == "Div":
        return node.inputs[1] if constant_scalar(node.inputs[0]) == 1 else None
    return node.inputs[0]


def _deviation(root: ir.Value) -> _Deviation | None:
    sqrt = produced_by(root, "Sqrt")
    power = produced_by(root, "Pow")
    inner = sqrt.inputs[0] if sqrt is not None else None
    if power is not None and constant_scalar(power.inputs[1]) == 0.5:
        inner = power.inputs[0]
    for line in lines(inner, 1) if inner is not None else ():
        mean = produced_by(line.x, "ReduceMean")
        if mean is None or line.multiplier != 1 or line.addend <= 0 or mean.inputs[0] is None:
            continue
        x, axis = _squared_input(mean.inputs[0]), _first_axis(mean)
        if x is not None and axis is not None:
            deviation = _Deviation(x, axis, line.addend)
            centered = _squared_value(mean.inputs[0])
            if centered is not None and _is_centered(centered, deviation):
                return deviation
    return None


def _squared_value(value: ir.Value) -> ir.Value | None:
    node = produced_by(value, "Mul", "Pow")
    if node is None:
        return None
    if node.op_type == "Pow":
        return node.inputs[0] if constant_scalar(node.inputs[1]) == 2 else None
    return node.inputs[0] if node.inputs[0] is node.inputs[1] else None


def _squared_input(value: ir.Value) -> ir.Value | None:
    centered = produced_by(_squared_value(value), "Sub")
    return None if centered is None else centered.inputs[0]


def _first_axis(mean: ir.Node) -> int | None:
    """The first reduced axis when all from there to the last are reduced and kept as 1; else None."""
    axes = constant_value(input_of(mean, 1))
    if axes is None or axes.size == 0 or attribute(mean, "keepdims") != 1 or mean.inputs[0] is None:
        return None
    rank = len(shape_of(mean.inputs[0]))
    reduced = sorted(int(axis) % rank for axis in axes.reshape(-1))
    return reduced[0] if reduced == list(range(reduced[0], rank)) else None


def _is_mean(value: ir.Value | None, deviation: _Deviation) -> bool:
    mean = produced_by(value, "ReduceMean")
    return mean is not None and mean.inputs[0] is deviation.x and _first_axis(mean) == deviation.axis


def _is_centered(value: ir.Value, deviation: _Deviation) -> bool:
    node = produced_by(value, "Sub")
    return node is not None and node.inputs[0] is deviation.x and _is_mean(node.inputs[1], deviation)


def _emit(node: ir.Node, d: _Deviation, scale: ir.Value | None, bias: ir.Value | None, editor: GraphEditor) -> bool:
    dtype = d.x.dtype
    assert dtype is not None
    shape = shape_of(d.x)[d.axis :]
    gain = _parameter(scale, shape) if scale is not None else np.ones(shape, dtype=dtype.numpy())
    shift = _parameter(bias, shape) if bias is not None else None
    if gain is None or (bias is not None and shift is None):
        return False
    name = node.outputs[0].name
    inputs = [d.x, editor.constant(gain, f"{name}/scale")]
    inputs += [] if shift is None else [editor.constant(shift, f"{name}/bias")]
    editor.rewrite(node, "LayerNormalization", inputs, {"axis": d.axis, "epsilon": d.epsilon})
    return True


def _parameter(value: ir.Value, shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None:
    """The constant broadcast to the normalized shape; None when it varies along other axes."""
    array = constant_value(value)
    if array is None:
        return None
    leading = array.ndim - len(shape)
    if leading > 0:
        if any(size != 1 for size in array.shape[:leading]):
            return None
        array = array.reshape(array.shape[leading:])
    return np.ascontiguousarray(np.broadcast_to(array, shape))


def _take_parameters(node: ir.Node, editor: GraphEditor) -> bool:
    """Moves a following Mul or Add by a constant into the node, as long as that has no bias."""
    norm = next((n for value in node.inputs if (n := produced_by(value, "LayerNormalization")) is not None), None)
    if (
        norm is None
        or single_consumer(norm.outputs[0]) is not node
        or input_of(norm, 2) is not None
        or is_op(node, "Sub", "Div")
    ):
        return False
    constant = next((value for value in node.inputs if is_constant(value)), None)
    if constant is None or norm.inputs[0] is None or shape_of(node.outputs[0]) != shape_of(norm.outputs[0]):
        return False
    parameter = _parameter(
        constant, shape_of(norm.inputs[0])[attribute(norm, "axis") % len(shape_of(norm.inputs[0])) :]
    )
    scale = constant_value(norm.inputs[1])
    if parameter is None or scale is None:
        return False
    if is_op(node, "Mul"):
        editor.with_constant(norm, 1, (scale * parameter).astype(scale.dtype))
    else:
        editor.with_constant(norm, 2, parameter.astype(scale.dtype), f"{norm.outputs[0].name}/bias")
    editor.replace(node.outputs[0], norm.outputs[0], take_name=True)
    return True


class FuseSoftmax(RewritePass):
    """The exponential's share of the sum; the subtracted maximum (for range, not for value) goes with it.

    Given:
        e = Exp(x - ReduceMax(x, axis));  Div(e, ReduceSum(e, axis))
    Result:
        Softmax(x, axis)
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the Div."""
        if not is_op(node, "Div"):
            return False
        exp, total = produced_by(node.inputs[0], "Exp"), produced_by(node.inputs[1], "ReduceSum")
        if exp is None or total is None or total.inputs[0] is not exp.outputs[0] or exp.inputs[0] is None:
            return False
        axis = _single_axis(total)
        if axis is None:
            return False
        x = exp.inputs[0]
        difference = produced_by(x, "Sub")
        largest = produced_by(difference.inputs[1], "ReduceMax") if difference is not None else None
        if difference is not None and largest is not None and largest.inputs[0] is difference.inputs[0]:
            x = difference.inputs[0] if _single_axis(largest) == axis and difference.inputs[0] is not None else x
        editor.rewrite(node, "Softmax", [x], {"axis": axis})
        return True


def _single_axis(reduction: ir.Node) -> int | None:
    axes = constant_value(input_of(reduction, 1))
    if axes is None or axes.size != 1 or attribute(reduction, "keepdims") != 1 or reduction.inputs[0] is None:
        return None
    return int(axes.reshape(-1)[0]) % len(shape_of(reduction.inputs[0]))
