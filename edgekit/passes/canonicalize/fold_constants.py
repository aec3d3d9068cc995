"""Everything that does not depend on the graph inputs becomes an initializer."""

from typing import Any

import numpy as np
import onnx_ir as ir

from edgekit.graph.edit import GraphEditor
from edgekit.graph.queries import is_op
from edgekit.graph.shapes import propagate


class FoldConstants(ir.passes.InPlacePass):
    """Evaluates constant subgraphs and shape computations; infers the missing shapes on the way.

    Given:
        x -> Shape -> Gather(0) -> Unsqueeze -> Concat(., [-1]) -> s;  Reshape(x, s) -> y
    Result:
        Reshape(x, s) -> y, with the initializer s = [1, -1]

    Random ops are not evaluated, nor what would blow up the file (a constant of more than 64 MiB made from less than
    half as many bytes). An ``If`` on a constant becomes its branch. A graph output that is a constant stays an Identity
    of an initializer.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Folds in the main graph; subgraphs read the folded values."""
        nodes = len(model.graph)
        constants = propagate(model)
        editor = GraphEditor(model.graph)
        modified = nodes != len(model.graph)
        for node in reversed(list(model.graph)):
            named = [value for value in node.outputs if value.name]
            if named and all(value in constants for value in named):
                for value in named:
                    modified |= _fold(node, value, constants[value], editor)
        return ir.passes.PassResult(model, modified)


def _fold(node: ir.Node, value: ir.Value, array: np.ndarray[Any, Any], editor: GraphEditor) -> bool:
    if not value.uses() and not value.is_graph_output():
        editor.remove_unused(value)
        return True
    if (
        is_op(node, "Identity")
        and value.is_graph_output()
        and node.inputs[0] is not None
        and node.inputs[0].is_initializer()
    ):
        return False
    constant = editor.constant(array, editor.release_name(value))
    editor.replace(value, constant)
    return True
