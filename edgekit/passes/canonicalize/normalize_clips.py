"""Clamping in one form: Relu, or Clip with scalar constants; each value clamped once."""

import numpy as np
import onnx_ir as ir

from edgekit.graph.edit import GraphEditor, RewritePass
from edgekit.graph.queries import (
    constant_scalar,
    input_of,
    is_constant,
    is_floating,
    is_op,
    shape_of,
    single_consumer,
    static_shape,
)
from edgekit.passes.canonicalize.fold_pads import is_nonnegative

Bounds = tuple[float, float]


class NormalizeClips(RewritePass):
    """Relu, Clip, Min and Max against one number, and chains of them, become one Relu or one Clip.

    Given:
        x -> Relu -> Min(., 6);  y -> Clip(., 0, inf);  z -> Sigmoid -> Relu
    Result:
        x -> Clip(., 0, 6);  y -> Relu;  z -> Sigmoid

    Bounds are scalar initializers; one that bounds nothing is left out. Clip(x, 0, 6) is what the field calls ReLU6.
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the last of the chain."""
        own = bounds(node)
        if own is None:
            return False
        x = _clamped(node)
        before = x.producer()
        inner = bounds(before) if before is not None and single_consumer(x) is node else None
        if inner is not None and before is not None and inner[0] <= inner[1] and own[0] <= own[1]:
            # min(max(min(max(x, a), b), c), d) is one clamp to [clamp(a, c, d), clamp(b, c, d)].
            own = (min(max(inner[0], own[0]), own[1]), min(max(inner[1], own[0]), own[1]))
            x = _clamped(before)
        if own[0] <= 0 and own[1] == np.inf and is_nonnegative(x):
            return editor.replace(node.outputs[0], x)
        if x is _clamped(node) and _is_canonical(node, own):
            return False
        _emit(node, x, own, editor)
        return True


def bounds(node: ir.Node) -> Bounds | None:
    """Lower and upper bound (infinite where there is none) of a floating-point clamp by constants; else None."""
    if not is_op(node, "Relu", "Clip", "Min", "Max") or not is_floating(node.outputs[0]):
        return None
    if node.op_type == "Relu":
        return (0.0, np.inf)
    if node.op_type == "Clip":
        return _clip_bounds(node)
    numbers = [value for value in node.inputs if is_constant(value)]
    if len(node.inputs) != 2 or len(numbers) != 1 or static_shape(_clamped(node)) != static_shape(node.outputs[0]):
        return None
    number = constant_scalar(numbers[0])
    if number is None:
        return None
    return (-np.inf, number) if node.op_type == "Min" else (number, np.inf)


def _clip_bounds(node: ir.Node) -> Bounds | None:
    result = []
    for index, unbounded in ((1, -np.inf), (2, np.inf)):
        value = input_of(node, index)
        number = unbounded if value is None else constant_scalar(value)
        if number is None or np.isnan(number):
            return None
        result.append(unbounded if abs(number) >= _largest(node) and (number > 0) == (unbounded > 0) else number)
    return (result[0], result[1])


def _largest(node: ir.Node) -> float:
    dtype = node.outputs[0].dtype
    assert dtype is not None
    return float(np.finfo(dtype.numpy()).max) if dtype != ir.DataType.BFLOAT16 else 3.38e38


def _clamped(node: ir.Node) -> ir.Value:
    """The variable input."""
    value = next((v for v in node.inputs if v is not None and not is_constant(v)), node.inputs[0])
    assert value is not None
    return value


def _is_canonical(node: ir.Node, own: Bounds) -> bool:
    if node.op_type == "Relu":
        return True
    if node.op_type != "Clip" or own == (0, np.inf) or own == (-np.inf, np.inf):
        return False
    given = [input_of(node, 1), input_of(node, 2)]
    return all(
        (value is None) == bool(np.isinf(bound)) and (value is None or shape_of(value) == ())
        for value, bound in zip(given, own, strict=True)
    )


def _emit(node: ir.Node, x: ir.Value, own: Bounds, editor: GraphEditor) -> None:
    output = node.outputs[0]
    if own == (-np.inf, np.inf):
        editor.replace(output, x)
    elif own == (0, np.inf):
        editor.rewrite(node, "Relu", [x])
    else:
        editor.rewrite(node, "Clip", [x, *_limits(node, own, editor)])


def _limits(node: ir.Node, own: Bounds, editor: GraphEditor) -> list[ir.Value | None]:
    output = node.outputs[0]
    assert output.dtype is not None
    limits: list[ir.Value | None] = [
        None
        if np.isinf(bound)
        else editor.constant(np.array(bound, dtype=output.dtype.numpy()), f"{output.name}/{name}")
        for name, bound in zip(("min", "max"), own, strict=True)
    ]
    while limits and limits[-1] is None:
        limits.pop()
    return limits
