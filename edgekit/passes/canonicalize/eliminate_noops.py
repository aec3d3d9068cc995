"""Nodes that hand on their input unchanged go away."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from edgekit.graph.edit import GraphEditor, RewritePass
from edgekit.graph.queries import (
    attribute,
    constant_scalar,
    constant_value,
    input_of,
    is_constant,
    is_floating,
    is_op,
    static_shape,
)
from edgekit.graph.windows import window
from edgekit.passes.canonicalize.fold_pads import pad_amounts

_NEUTRAL = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0, "Pow": 1.0}
_BROADCASTING = (
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Min",
    "Max",
    "Where",
    "Equal",
    "Less",
    "Greater",
    "And",
    "Or",
    "PRelu",
)


class EliminateNoops(RewritePass):
    """Identity, inference-mode Dropout, and Cast, Transpose, Reshape, Pad, Slice, Concat, ... that do nothing.

    Given:
        x -> Dropout -> Identity -> Slice(all of it) -> y
    Result:
        x (named y where y is a graph output)

    A graph output that is an input, a constant or another output stays an Identity: ONNX cannot say it otherwise.
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """Any node."""
        source = _unchanged_input(node)
        if source is None or any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
            return False
        return editor.replace(node.outputs[0], source)


class DropExpands(RewritePass):
    """An Expand in front of nothing but broadcasting ops is not needed when the result has the same shape without it.

    Given:
        c[1,C,1,1] -> Expand([1,C,H,W]) -> Add(x[1,C,H,W], .)
    Result:
        Add(x, c)
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the Expand."""
        output = node.outputs[0]
        source = node.inputs[0] if node.inputs else None
        if not is_op(node, "Expand") or output.is_graph_output() or source is None:
            return False
        if not all(_broadcasts_alike(use.node, output, source) for use in output.uses()):
            return False
        return editor.replace(output, source)


def _broadcasts_alike(consumer: ir.Node, old: ir.Value, new: ir.Value) -> bool:
    if not is_op(consumer, *_BROADCASTING) or (consumer.op_type == "PRelu" and consumer.inputs[0] is old):
        return False
    shapes = [static_shape(new if value is old else value) for value in consumer.inputs if value is not None]
    known = [shape for shape in shapes if shape is not None]
    return len(known) == len(shapes) and np.broadcast_shapes(*known) == static_shape(consumer.outputs[0])


def _unchanged_input(node: ir.Node) -> ir.Value | None:
    """The input that the node's first output always equals, if there is one."""
    if node.domain not in ("", "ai.onnx") or not node.inputs:
        return None
    check = _CHECKS.get(node.op_type)
    if check is None:
        return _neutral_operand(node) if node.op_type in _NEUTRAL else None
    source = input_of(node, 0)
    return source if source is not None and check(node) else None


def _neutral_operand(node: ir.Node) -> ir.Value | None:
    left, right = node.inputs
    for x, constant in ((left, right), (right, left)):
        if x is None or not is_constant(constant) or is_constant(x):
            continue
        if x is right and node.op_type not in ("Add", "Mul"):
            continue
        array = constant_value(constant)
        if (
            array is not None
            and (array == _NEUTRAL[node.op_type]).all()
            and static_shape(x) == static_shape(node.outputs[0])
        ):
            return x
    return None


def _same_shape(node: ir.Node) -> bool:
    shape = static_shape(node.inputs[0])
    return shape is not None and shape == static_shape(node.outputs[0])


def _is_plain_dropout(node: ir.Node) -> bool:
    training = input_of(node, 2)
    return training is None or constant_scalar(training) == 0


def _is_same_cast(node: ir.Node) -> bool:
    source = node.inputs[0]
    return source is not None and source.dtype is not None and int(source.dtype) == attribute(node, "to")


def _is_identity_transpose(node: ir.Node) -> bool:
    perm = attribute(node, "perm")
    return perm is not None and perm == sorted(perm)


def _is_zero_pad(node: ir.Node) -> bool:
    amounts = pad_amounts(node) if static_shape(node.inputs[0]) is not None else None
    return amounts is not None and not amounts.any()


def _is_full_slice(node: ir.Node) -> bool:
    steps = constant_value(input_of(node, 4))
    forward = input_of(node, 4) is None or (steps is not None and bool((steps > 0).all()))
    return forward and _same_shape(node)


def _has_one_input(node: ir.Node) -> bool:
    return len(node.inputs) == 1


def _is_unit_pool(node: ir.Node) -> bool:
    if static_shape(node.inputs[0]) is None or not _same_shape(node):
        return False
    own = window(node)
    return set(own.kernel) | set(own.strides) == {1} and not any(own.pads)


def _reduces_nothing(node: ir.Node) -> bool:
    shape = static_shape(node.inputs[0])
    if shape is None or not _same_shape(node) or attribute(node, "keepdims") == 0:
        return False
    axes = constant_value(input_of(node, 1))
    if input_of(node, 1) is None:
        return bool(attribute(node, "noop_with_empty_axes")) or all(size == 1 for size in shape)
    if axes is not None and axes.size == 0:
        return bool(attribute(node, "noop_with_empty_axes")) or all(size == 1 for size in shape)
    return axes is not None and all(shape[int(axis)] == 1 for axis in axes.reshape(-1))


def _is_unbounded_clip(node: ir.Node) -> bool:
    return is_floating(node.outputs[0]) and input_of(node, 1) is None and input_of(node, 2) is None


def _is_same_resize(node: ir.Node) -> bool:
    # Sampling each point where it lies; a crop or a half-covered tf_crop_and_resize would not.
    return (
        _same_shape(node)
        and attribute(node, "coordinate_transformation_mode") != "tf_crop_and_resize"
        and _unit_scales(node)
    )


def _unit_scales(node: ir.Node) -> bool:
    scales = constant_value(input_of(node, 2))
    return input_of(node, 2) is None or (scales is not None and (scales.size == 0 or bool((scales == 1).all())))


_CHECKS: dict[str, Callable[[ir.Node], Any]] = {
    "Identity": lambda node: True,
    "Dropout": _is_plain_dropout,
    "Cast": _is_same_cast,
    "Transpose": _is_identity_transpose,
    "Reshape": _same_shape,
    "Flatten": _same_shape,
    "Squeeze": _same_shape,
    "Unsqueeze": _same_shape,
    "Expand": _same_shape,
    "Tile": _same_shape,
    "Pad": _is_zero_pad,
    "Slice": _is_full_slice,
    "Split": _same_shape,
    "Concat": _has_one_input,
    "Sum": _has_one_input,
    "Mean": _has_one_input,
    "Min": _has_one_input,
    "Max": _has_one_input,
    "MaxPool": _is_unit_pool,
    "AveragePool": _is_unit_pool,
    "GlobalAveragePool": _same_shape,
    "GlobalMaxPool": _same_shape,
    "ReduceMean": _reduces_nothing,
    "ReduceSum": _reduces_nothing,
    "ReduceMax": _reduces_nothing,
    "ReduceMin": _reduces_nothing,
    "ReduceProd": _reduces_nothing,
    "Clip": _is_unbounded_clip,
    "Resize": _is_same_resize,
    "DepthToSpace": lambda node: attribute(node, "blocksize") == 1,
    "SpaceToDepth": lambda node: attribute(node, "blocksize") == 1,
}
