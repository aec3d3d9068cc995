"""What recurrent layers leave around their steps: whole sequences turned round, and one step taken out of all."""

import numpy as np
import onnx_ir as ir

from edgekit.graph.edit import GraphEditor, RewritePass
from edgekit.graph.queries import constant_value, is_op, shape_of


class ReverseBySlice(RewritePass):
    """A sequence that is turned round over its whole length is a slice with step -1, which every runtime has.

    Given:
        ReverseSequence(x of shape (10, 1, 6), lengths=[10], time_axis=0, batch_axis=1)
    Result:
        Slice(x, starts=[-1], ends=[lowest], axes=[0], steps=[-1])
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """Only ReverseSequence with constant lengths; True when the node was replaced."""
        if not is_op(node, "ReverseSequence") or node.inputs[0] is None:
            return False
        lengths = constant_value(node.inputs[1])
        axis = node.attributes.get_int("time_axis", 0)
        size = shape_of(node.inputs[0])[axis]
        if lengths is None or not (lengths == size).all():
            return False
        operands = {"starts": -1, "ends": np.iinfo(np.int64).min, "axes": axis, "steps": -1}
        constants = [editor.constant(np.array([value]), name) for name, value in operands.items()]
        editor.rewrite(node, "Slice", [node.inputs[0], *constants])
        return True


class TakeFromConcat(RewritePass):
    """One entry of what was just put together is that operand itself.

    Given:
        Concat(a of shape (1, 8), b of shape (1, 8), axis=0) -> Slice([1:2] on axis 0)
    Result:
        b
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is a Slice along the one axis of a Concat, or a Gather of one index; True when it was replaced."""
        concat = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
        if concat is None or not is_op(concat, "Concat") or not is_op(node, "Slice", "Gather"):
            return False
        rank = len(shape_of(concat.outputs[0]))
        axis = concat.attributes.get_int("axis", 0) % rank
        span = _sliced(node, axis, shape_of(concat.outputs[0])) if node.op_type == "Slice" else _gathered(node, axis)
        operand = _covering(concat, axis, span) if span else None
        if operand is None:
            return False
        if node.op_type == "Slice":
            return editor.replace(node.outputs[0], operand)
        shape = editor.constant(np.array(shape_of(node.outputs[0]), np.int64), "shape")
        editor.rewrite(node, "Reshape", [operand, shape])
        return True


def _sliced(node: ir.Node, axis: int, shape: tuple[int, ...]) -> tuple[int, int] | None:
    arrays = [constant_value(value) for value in node.inputs[1:]]
    if any(array is None for array in arrays) or len(arrays) < 3:
        return None
    start, stop, axes, *steps = (array.reshape(-1).tolist() for array in arrays if array is not None)
    if len(axes) != 1 or axes[0] % len(shape) != axis or (steps and steps[0] != [1]):
        return None
    return slice(start[0], stop[0]).indices(shape[axis])[:2]


def _gathered(node: ir.Node, axis: int) -> tuple[int, int] | None:
    index = constant_value(node.inputs[1])
    source = node.inputs[0]
    assert source is not None
    shape = shape_of(source)
    if index is None or index.size != 1 or node.attributes.get_int("axis", 0) % len(shape) != axis:
        return None
    start = int(index.reshape(-1)[0]) % shape[axis]
    return start, start + 1


def _covering(concat: ir.Node, axis: int, span: tuple[int, int]) -> ir.Value | None:
    """The operand of ``concat`` that is exactly ``span`` of its result."""
    start = 0
    for operand in concat.inputs:
        assert operand is not None
        stop = start + shape_of(operand)[axis]
        if (start, stop) == span:
            return operand
        start = stop
    return None
