"""Everything that only changes the shape is one Reshape to a constant shape."""

import math

import numpy as np
import onnx_ir as ir

from edgekit.graph.edit import GraphEditor, RewritePass
from edgekit.graph.queries import (
    attribute,
    constant_value,
    input_of,
    is_constant,
    is_op,
    produced_by,
    shape_of,
    single_consumer,
    static_shape,
)

_SHAPE_ONLY = ("Flatten", "Squeeze", "Unsqueeze", "Reshape")
_UNARY = (
    "Relu",
    "Clip",
    "Sigmoid",
    "Tanh",
    "HardSigmoid",
    "HardSwish",
    "Gelu",
    "Mish",
    "Elu",
    "Selu",
    "LeakyRelu",
    "Softplus",
    "Softsign",
    "Exp",
    "Log",
    "Sqrt",
    "Abs",
    "Neg",
    "Erf",
    "Cast",
    "Celu",
    "ThresholdedRelu",
)
_WITH_CONSTANT = ("Add", "Mul", "Sub", "Div")


class NormalizeReshapes(RewritePass):
    """Flatten, Squeeze, Unsqueeze, Reshape and chains of them become one Reshape to explicit numbers.

    Given:
        x[1,C,1,1] -> Squeeze -> Unsqueeze(0) -> y[1,C]
    Result:
        x -> Reshape([1,C]) -> y
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the last of the chain."""
        source, output = input_of(node, 0), node.outputs[0]
        shape = static_shape(output)
        if source is None or shape is None or static_shape(source) is None or 0 in shape:
            return False
        if not is_op(node, *_SHAPE_ONLY):
            return False
        before = produced_by(source, "Reshape")
        target = constant_value(input_of(node, 1)) if is_op(node, "Reshape") else None
        explicit = target is not None and tuple(target.tolist()) == shape
        if explicit and before is None and not attribute(node, "allowzero"):
            return False
        if before is not None and before.inputs[0] is not None:
            source = before.inputs[0]
        editor.rewrite(node, "Reshape", [source, _target(node, editor)])
        return True


class TransposeToReshape(RewritePass):
    """A Transpose that moves only axes of size 1 is a Reshape, which costs nothing at run time.

    Given:
        x[1,1,1,C] -> Transpose(0,3,1,2)
    Result:
        x -> Reshape([1,C,1,1])
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the Transpose."""
        if not is_op(node, "Transpose") or static_shape(node.inputs[0]) is None or not keeps_order(node):
            return False
        editor.rewrite(node, "Reshape", [node.inputs[0], _target(node, editor)])
        return True


def keeps_order(transpose: ir.Node) -> bool:
    """Whether a Transpose moves only axes of size 1, so that the elements stay where they are in memory."""
    assert transpose.inputs[0] is not None
    shape = shape_of(transpose.inputs[0])
    perm = attribute(transpose, "perm") or list(range(len(shape)))[::-1]
    moved = [axis for axis in perm if shape[axis] != 1]
    return moved == sorted(moved)


class KeepReducedDims(RewritePass):
    """A reduction that drops axes which the next Reshape brings back keeps them instead.

    Given:
        x[1,C,H,W] -> ReduceMean(axes=[2,3], keepdims=0) -> Reshape([1,C,1,1])
    Result:
        x -> ReduceMean(axes=[2,3], keepdims=1)
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the Reshape."""
        reduction = node.inputs[0].producer() if is_op(node, "Reshape") and node.inputs[0] is not None else None
        if reduction is None or not reduction.op_type.startswith("Reduce") or attribute(reduction, "keepdims") != 0:
            return False
        axes = constant_value(input_of(reduction, 1))
        x = input_of(reduction, 0)
        if axes is None or x is None or single_consumer(reduction.outputs[0]) is not node:
            return False
        shape = list(shape_of(x))
        for axis in axes.reshape(-1):
            shape[int(axis)] = 1
        if tuple(shape) != shape_of(node.outputs[0]):
            return False
        attributes = {**reduction.attributes, "keepdims": ir.AttrInt64("keepdims", 1)}
        editor.rewrite(node, reduction.op_type, reduction.inputs, attributes)
        return True


class ReshapesMeet(RewritePass):
    """A Reshape sinks below activations (and per-element constants) when another Reshape waits there.

    Given:
        x[1,1,W,C] -> Reshape([1,W,C]) -> Add(b[C]) -> Relu -> Reshape([1,1,W,C])
    Result:
        x -> Add(b[C]) -> Relu
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the first Reshape."""
        if not is_op(node, "Reshape") or not _leads_to_reshape(node):
            return False
        x, follower = node.inputs[0], single_consumer(node.outputs[0])
        assert x is not None and follower is not None
        inputs = [_moved_operand(follower, value, node, editor) for value in follower.inputs]
        moved = editor.insert(
            follower, follower.op_type, inputs, follower.attributes, like=follower.outputs[0], shape=shape_of(x)
        )
        editor.rewrite(follower, "Reshape", [moved, _target(follower, editor)])
        return True


def _target(node: ir.Node, editor: GraphEditor) -> ir.Value:
    output = node.outputs[0]
    return editor.constant(np.array(shape_of(output), dtype=np.int64), f"{output.name}/shape")


def _leads_to_reshape(reshape: ir.Node) -> bool:
    node: ir.Node | None = reshape
    for _ in range(8):
        value = node.outputs[0] if node is not None else None
        node = single_consumer(value) if value is not None else None
        if node is None or value is None:
            return False
        if node is not reshape and is_op(node, "Reshape"):
            return node.inputs[0] is value and (node is not single_consumer(reshape.outputs[0]))
        if is_op(node, *_UNARY) and node.inputs[0] is value:
            continue
        if not (is_op(node, *_WITH_CONSTANT) and _operand_shapes(node, value, reshape) is not None):
            return False
    return False


def _operand_shapes(node: ir.Node, value: ir.Value, reshape: ir.Node) -> tuple[int, ...] | None:
    """The shape that the node's constant must take in front of the Reshape; None when it cannot."""
    constant = next((v for v in node.inputs if v is not value and is_constant(v)), None)
    before, after = static_shape(reshape.inputs[0]), static_shape(reshape.outputs[0])
    shape = static_shape(constant)
    if shape is None or before is None or after is None or static_shape(node.outputs[0]) != after:
        return None
    full = (1,) * (len(after) - len(shape)) + shape
    if math.prod(full) == 1:
        return (1,) * len(before)
    # Only axes of size 1 came or went: the other axes pair up in order.
    wide = [axis for axis, size in enumerate(before) if size != 1]
    paired = [axis for axis, size in enumerate(after) if size != 1]
    if [before[axis] for axis in wide] != [after[axis] for axis in paired]:
        return None
    result = [1] * len(before)
    for axis, other in zip(wide, paired, strict=True):
        result[axis] = full[other]
    return tuple(result)


def _moved_operand(node: ir.Node, value: ir.Value | None, reshape: ir.Node, editor: GraphEditor) -> ir.Value | None:
    if value is reshape.outputs[0]:
        return reshape.inputs[0]
    if value is None or not is_op(node, *_WITH_CONSTANT):
        return value
    shape, array = _operand_shapes(node, reshape.outputs[0], reshape), constant_value(value)
    assert shape is not None and array is not None
    return editor.constant(array.reshape(shape), value.name or "constant")
