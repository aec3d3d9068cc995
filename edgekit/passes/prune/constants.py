"""Constants of their own for every node, so that equal ones do not tie unrelated channels together."""

import onnx_ir as ir

from edgekit.graph.edit import GraphEditor
from edgekit.graph.queries import is_floating

_MOST_ELEMENTS = 1 << 16
"""Larger ones stay shared: weights that a network uses twice on purpose are one piece of knowledge and of its size."""


def separate_constants(model: ir.Model) -> ir.Model:
    """A clone in which no two nodes read the same float vector or small matrix.

    The canonical graph keeps one of equal constants. All biases of a fresh network are equal, and of a trained one some
    may be; their channels could only be removed together. A second call changes nothing.
    """
    separated = model.clone()
    editor = GraphEditor(separated.graph)
    for value in list(separated.graph.initializers.values()):
        if _may_be_copied(value):
            _, *others = value.uses()
            for use in others:
                assert value.const_value is not None
                copy = editor.constant(value.const_value.numpy(), value.name or "constant")
                use.node.replace_input_with(use.idx, copy)
    return separated


def _may_be_copied(value: ir.Value) -> bool:
    tensor = value.const_value
    if tensor is None or not is_floating(value) or len(value.uses()) < 2 or value.is_graph_output():
        return False
    graph = value.graph
    inside = all(use.node.graph is graph for use in value.uses())
    return inside and len(tensor.shape) > 0 and 1 < tensor.size <= _MOST_ELEMENTS
