"""Explicit Pad nodes become the ``pads`` of the convolution or pooling behind them."""

import numpy as np
import onnx_ir as ir

from edgekit.graph.edit import GraphEditor, RewritePass
from edgekit.graph.queries import (
    attribute,
    constant_scalar,
    constant_value,
    input_of,
    is_op,
    produced_by,
    shape_of,
)
from edgekit.graph.windows import window

Amounts = np.ndarray[tuple[int, int], np.dtype[np.int64]]
"""Row 0 pads the begin of each axis, row 1 the end."""


class FoldPads(RewritePass):
    """Folds a constant Pad over spatial axes into its consumers, where the result is the same.

    Given:
        x -> Pad([0,0,0,0, 0,0,1,1], 0) -> Conv(pads=[0,0,0,0])
    Result:
        x -> Conv(pads=[0,0,1,1])

    Conv: the padded value must be 0. AveragePool: 0, and the pool must either count padding or have none of its own.
    MaxPool pads with minus infinity, so a zero Pad folds only when nothing in x is negative. ConvTranspose's ``pads``
    crop: never.
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the Pad."""
        if not is_op(node, "Pad") or attribute(node, "mode") != "constant" or node.outputs[0].is_graph_output():
            return False
        amounts = pad_amounts(node)
        consumers = [use.node for use in node.outputs[0].uses()]
        if amounts is None or (amounts < 0).any() or amounts[:, :2].any() or not consumers:
            return False
        # All or none: a convolution that cannot express its padding in some format would pad once more.
        if not all(_is_equivalent(consumer, node, amounts) for consumer in consumers):
            return False
        for consumer in consumers:
            _fold(consumer, node.inputs[0], amounts)
        editor.remove_unused(node.outputs[0])
        return True


def _fold(consumer: ir.Node, x: ir.Value | None, amounts: Amounts) -> None:
    own = window(consumer)
    begin = [int(a + b) for a, b in zip(own.begin, amounts[0, 2:], strict=True)]
    end = [int(a + b) for a, b in zip(own.end, amounts[1, 2:], strict=True)]
    consumer.attributes.pop("auto_pad", None)
    consumer.attributes["pads"] = ir.AttrInt64s("pads", begin + end)
    if consumer.op_type == "AveragePool":
        consumer.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)
    consumer.replace_input_with(0, x)


def pad_amounts(pad: ir.Node) -> Amounts | None:
    """A [2, rank] array: begin and end padding for every axis of a Pad node; None when it is not constant."""
    assert pad.inputs[0] is not None
    rank = len(shape_of(pad.inputs[0]))
    pads = constant_value(input_of(pad, 1))
    axes = constant_value(input_of(pad, 3))
    if pads is None or (axes is None and input_of(pad, 3) is not None):
        return None
    amounts = np.zeros((2, rank), dtype=np.int64)
    amounts[:, range(rank) if axes is None else [int(axis) % rank for axis in axes.reshape(-1)]] = pads.reshape(2, -1)
    return amounts


def pad_value(pad: ir.Node) -> float | None:
    """The number that a constant-mode Pad node fills in; None when it is not constant."""
    return 0.0 if input_of(pad, 2) is None else constant_scalar(input_of(pad, 2))


def _is_equivalent(node: ir.Node, pad: ir.Node, amounts: Amounts) -> bool:
    value = pad_value(pad)
    if not is_op(node, "Conv", "AveragePool", "MaxPool") or node.inputs[0] is not pad.outputs[0]:
        return False
    if node.op_type == "Conv":
        return value == 0
    own = window(node)
    if attribute(node, "ceil_mode") or len(node.outputs) > 1:
        return False
    begin, end = amounts[0, 2:] + own.begin, amounts[1, 2:] + own.end
    if any(int(b) >= k or int(e) >= k for b, e, k in zip(begin, end, own.kernel, strict=True)):
        return False
    if node.op_type == "AveragePool":
        return value == 0 and (attribute(node, "count_include_pad") == 1 or not any(own.pads))
    # With holes between its elements a window could lie on padding alone, which must then win.
    if value is None or any(dilation != 1 for dilation in own.dilations):
        return False
    lowest = value == -np.inf or value <= float(np.finfo(np.float32).min)
    return lowest or (value == 0 and pad.inputs[0] is not None and is_nonnegative(pad.inputs[0]))


def is_nonnegative(value: ir.Value) -> bool:
    """Whether an activation function keeps ``value`` at or above zero."""
    node = produced_by(value, "Relu", "Clip", "Sigmoid", "HardSigmoid", "Softmax", "Softplus", "Abs", "MaxPool")
    if node is None:
        return False
    if node.op_type == "MaxPool":
        return node.inputs[0] is not None and is_nonnegative(node.inputs[0])
    if node.op_type != "Clip":
        return True
    lower = constant_scalar(input_of(node, 1))
    return lower is not None and lower >= 0
