"""Poolings over the whole image by their own name, which runtimes have faster integer kernels for."""

import onnx_ir as ir

from edgekit.graph.edit import GraphEditor, RewritePass
from edgekit.graph.queries import is_op, shape_of
from edgekit.graph.windows import window

_GLOBAL = {"AveragePool": "GlobalAveragePool", "MaxPool": "GlobalMaxPool"}


class NameGlobalPools(RewritePass):
    """A window as large as the image it slides over, without padding, is a global pooling.

    Given:
        AveragePool(x of shape (1, 64, 8, 8), kernel_shape=[8, 8])
    Result:
        GlobalAveragePool(x)
    """

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> bool:
        """Only AveragePool and MaxPool with one output; True when the node was replaced."""
        if not is_op(node, *_GLOBAL) or len(node.outputs) != 1 or node.inputs[0] is None:
            return False
        slid = window(node)
        if any(slid.pads) or slid.extent != slid.kernel or tuple(shape_of(node.inputs[0])[2:]) != tuple(slid.kernel):
            return False
        editor.rewrite(node, _GLOBAL[node.op_type], [node.inputs[0]])
        return True
