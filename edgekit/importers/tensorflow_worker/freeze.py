"""A traced TensorFlow function as one flat graph of constants and operators, in a form that tf2onnx can read."""

from typing import Any

_KEEPS_CALLS = ("_XlaMustCompile", "_noinline")
"""Marks that stop TensorFlow from inlining a function. Keras wraps grouped convolutions in one."""


def frozen_graph(concrete: Any) -> tuple[Any, list[str], list[str]]:
    """The GraphDef of a ConcreteFunction, variables made constants, and its input and output tensor names."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False, aggressive_inlining=True)
    graph_def = frozen.graph.as_graph_def(add_shapes=True)
    for holder in (*graph_def.node, *graph_def.library.function):
        for mark in _KEEPS_CALLS:
            holder.attr.pop(mark, None)
    return graph_def, [tensor.name for tensor in frozen.inputs], [tensor.name for tensor in frozen.outputs]
