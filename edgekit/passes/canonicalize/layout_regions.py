"""Which ops compute the same with their axes reordered, and how their attributes and constants follow."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgekit.graph.edit import GraphEditor
from edgekit.graph.queries import attribute, constant_value, input_of, is_constant, shape_of, static_shape
from edgekit.passes.canonicalize.fold_pads import pad_amounts

Permutation = tuple[int, ...]

_UNARY = frozenset(
    [
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
        "Celu",
        "LeakyRelu",
        "ThresholdedRelu",
        "Softplus",
        "Softsign",
        "Exp",
        "Log",
        "Sqrt",
        "Reciprocal",
        "Abs",
        "Neg",
        "Erf",
        "Cast",
        "Floor",
        "Ceil",
        "Round",
        "Sign",
        "Not",
        "Sin",
        "Cos",
        "Identity",
        "IsNaN",
        "IsInf",
    ]
)
_BROADCASTING = frozenset(
    [
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Pow",
        "Min",
        "Max",
        "Sum",
        "Mean",
        "Where",
        "Equal",
        "Less",
        "LessOrEqual",
        "Greater",
        "GreaterOrEqual",
        "And",
        "Or",
        "Xor",
        "PRelu",
        "Mod",
    ]
)
_REDUCTIONS = frozenset(
    [
        "ReduceMean",
        "ReduceSum",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceSumSquare",
    ]
)
_ALONG_AXIS = frozenset(["Concat", "Split", "Softmax", "LogSoftmax", "Hardmax"])


def region_values(node: ir.Node) -> list[ir.Value] | None:
    """The values that must share one layout for the node to be computed in another one; None for ops with fixed axes.

    All inputs that vary and all outputs have one rank; constants follow.
    """
    if node.domain not in ("", "ai.onnx"):
        return None
    kind = node.op_type
    if kind in _BROADCASTING:
        return _same_rank([v for v in node.inputs if v is not None and not is_constant(v)], node)
    if kind == "Concat":
        # A constant operand of a Concat has full rank and is permuted like the rest.
        return _same_rank([v for v in node.inputs if v is not None and not is_constant(v)], node)
    if kind in _UNARY or kind in ("Softmax", "LogSoftmax", "Hardmax"):
        return _same_rank(node.inputs[:1], node)
    if kind in _CONSTANT_ARGUMENTS and _CONSTANT_ARGUMENTS[kind](node):
        return _same_rank(node.inputs[:1], node)
    return None


def _same_rank(inputs: Sequence[ir.Value | None], node: ir.Node) -> list[ir.Value] | None:
    values = [value for value in (*inputs, *node.outputs) if value is not None and value.name]
    ranks = {None if static_shape(value) is None else len(shape_of(value)) for value in values}
    rank = next(iter(ranks))
    if len(ranks) != 1 or rank is None or rank < 2:
        return None
    constants = [value for value in node.inputs if value is not None and value not in values and is_constant(value)]
    if node.op_type in _BROADCASTING and any(len(shape_of(value)) > rank for value in constants):
        return None
    return values


def _has_constant(*indices: int) -> Callable[[ir.Node], bool]:
    return lambda node: all(input_of(node, i) is None or is_constant(input_of(node, i)) for i in indices)


def _keeps_reduced(node: ir.Node) -> bool:
    return attribute(node, "keepdims") != 0 and input_of(node, 1) is not None and is_constant(input_of(node, 1))


_CONSTANT_ARGUMENTS: dict[str, Callable[[ir.Node], bool]] = {
    "Pad": _has_constant(1, 2, 3),
    "Slice": _has_constant(1, 2, 3, 4),
    "Split": _has_constant(1),
    **dict.fromkeys(_REDUCTIONS, _keeps_reduced),
}


def drops_axes_in_order(node: ir.Node, permutation: Permutation) -> bool:
    """Whether a reduction with ``keepdims=0`` gives the same result from its input transposed by ``permutation``."""
    if node.op_type not in _REDUCTIONS or attribute(node, "keepdims") != 0 or not is_constant(input_of(node, 1)):
        return False
    axes = constant_value(input_of(node, 1))
    assert axes is not None
    gone = {int(axis) % len(permutation) for axis in axes.reshape(-1)}
    kept = [axis for axis in permutation if axis not in gone]
    return bool(gone) and kept == sorted(kept)


def permute_node(node: ir.Node, permutation: Permutation, editor: GraphEditor) -> None:
    """Rewrites attributes and constants of a node whose varying inputs are now transposed by ``permutation``."""
    position = {axis: new for new, axis in enumerate(permutation)}
    kind = node.op_type
    if kind in _BROADCASTING or kind == "Concat":
        _permute_constants(node, permutation, editor)
    if kind in _ALONG_AXIS:
        node.attributes["axis"] = ir.AttrInt64("axis", position[attribute(node, "axis") % len(permutation)])
    elif kind in _REDUCTIONS:
        axes = constant_value(node.inputs[1])
        assert axes is not None
        moved = sorted(position[int(axis) % len(permutation)] for axis in axes.reshape(-1))
        editor.with_constant(node, 1, np.array(moved, dtype=np.int64))
    elif kind == "Pad":
        _permute_pad(node, permutation, editor)
    elif kind == "Slice":
        _permute_slice(node, position, editor)


def _permute_constants(node: ir.Node, permutation: Permutation, editor: GraphEditor) -> None:
    for index, value in enumerate(node.inputs):
        array = constant_value(value) if is_constant(value) else None
        if array is None or array.size == 1:
            continue
        full: np.ndarray[Any, Any] = array.reshape((1,) * (len(permutation) - array.ndim) + array.shape)
        editor.with_constant(node, index, full.transpose(permutation))


def _permute_pad(node: ir.Node, permutation: Permutation, editor: GraphEditor) -> None:
    amounts = pad_amounts(node)
    assert amounts is not None
    node.resize_inputs(min(len(node.inputs), 3))
    editor.with_constant(node, 1, amounts[:, list(permutation)].reshape(-1))


def _permute_slice(node: ir.Node, position: dict[int, int], editor: GraphEditor) -> None:
    axes, starts = constant_value(input_of(node, 3)), constant_value(node.inputs[1])
    assert starts is not None
    if axes is None:
        axes = np.arange(starts.size)
    moved = np.array([position[int(axis) % len(position)] for axis in axes], starts.dtype)  # all of one type
    editor.with_constant(node, 3, moved, "axes")
