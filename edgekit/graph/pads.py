"""Pads in the form that onnxruntime computes right."""

import numpy as np
import onnx_ir as ir

from edgekit.graph.edit import GraphEditor, RewritePass
from edgekit.graph.queries import attribute, constant_value, input_of, is_op, static_shape

_LEFT_OUT = ("Relu", "Clip", "Identity", "QuantizeLinear", "DequantizeLinear")
"""What onnxruntime, or the exporter of integers, may take away between a Pad and a MaxPool."""


class SpellOutPads(RewritePass):
    """Amounts for every axis, and the list of all axes only in front of a MaxPool.

    Given:
        x -> Pad([0,0,1,1, 0,0,1,1], 0) -> MaxPool
        x -> Pad([1,1, 1,1], 0, axes=[2,3]) -> Conv
    Result:
        x -> Pad([0,0,1,1, 0,0,1,1], 0, axes=[0,1,2,3]) -> MaxPool
        x -> Pad([0,0,1,1, 0,0,1,1], 0) -> Conv

    The same numbers. The basic optimizations of onnxruntime 1.17 (pull request 18136, Pad_Fusion) to 1.31 make zeros,
    also those of integer codes, the ``pads`` of a MaxPool, which count as minus infinity: wrong wherever a window at
    the border holds negative numbers only (ResNet50V2). They pass over a Pad with axes. But where onnxruntime changes
    the layout (int8), it permutes the amounts as if they were for all axes, so it must be all of them.
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """``node`` is the Pad."""
        shape = static_shape(input_of(node, 0))
        pads, given = constant_value(input_of(node, 1)), constant_value(input_of(node, 3))
        if not is_op(node, "Pad") or shape is None or pads is None or (given is None and input_of(node, 3) is not None):
            return False
        every = list(range(len(shape)))
        listed = attribute(node, "mode") == "constant" and _meets_pool(node.outputs[0])
        if (None if given is None else given.tolist()) == (every if listed else None):
            return False
        amounts = np.zeros((2, len(shape)), dtype=np.int64)
        amounts[:, every if given is None else given % len(shape)] = pads.reshape(2, -1)
        name = node.name or "pad"
        editor.with_constant(node, 1, amounts.reshape(-1), f"{name}_pads")
        if listed:
            editor.with_constant(node, 3, np.array(every, dtype=np.int64), f"{name}_axes")
        else:
            node.resize_inputs(3)
        return True


def _meets_pool(value: ir.Value) -> bool:
    readers = [use.node for use in value.uses()]
    return any(
        is_op(reader, "MaxPool") or (is_op(reader, *_LEFT_OUT) and _meets_pool(reader.outputs[0])) for reader in readers
    )
