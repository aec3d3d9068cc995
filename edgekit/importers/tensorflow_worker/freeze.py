"""A traced TensorFlow function as one flat graph of constants and operators, in a form that tf2onnx can read."""

from typing import Any

_KEEPS_CALLS = ("_XlaMustCompile", "_noinline")
"""Marks that stop TensorFlow from inlining a function. Keras wraps grouped convolutions in one."""


def frozen_graph(concrete: Any) -> tuple[Any, list[str], list[str]]:
    """The GraphDef of a ConcreteFunction, variables made constants, and its input and output tensor names."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    inputs = [tensor.name for tensor in concrete.inputs[: len(concrete.inputs) - len(concrete.captured_inputs)]]
    outputs = [tensor.name for tensor in concrete.outputs]
    try:
        frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False, aggressive_inlining=True)
        graph_def = frozen.graph.as_graph_def(add_shapes=True)
        inputs, outputs = [tensor.name for tensor in frozen.inputs], [tensor.name for tensor in frozen.outputs]
    except ValueError as error:
        if "incompatible with expected resource" not in str(error):
            raise
        graph_def = _without_assignments(concrete)
    for holder in (*graph_def.node, *graph_def.library.function):
        for mark in _KEEPS_CALLS:
            holder.attr.pop(mark, None)
    _compare_zeros_alike(graph_def)
    return graph_def, inputs, outputs


def _without_assignments(concrete: Any) -> Any:
    """Freeze a function that also writes variables (the seeds of random layers), which inference has no use for."""
    from tf2onnx import tf_loader

    return tf_loader.fix_freezing_errors(tf_loader.convert_variables_to_constants_large_model(concrete))


def _compare_zeros_alike(graph_def: Any) -> None:
    """Take away what keeps ``argmax`` from confusing 0.0 and -0.0: Keras looks at the bits, which ONNX cannot.

    Given: ``ArgMax(SelectV2(is_negative_zero(x), -tiny, x))``
    Result: ``ArgMax(x)``
    """
    made = {node.name: node for node in graph_def.node}

    def producer(name: str) -> Any:
        return made.get(name.split(":")[0])

    def looks_at_bits(name: str, depth: int) -> bool:
        node = producer(name)
        if node is None or depth == 0:
            return False
        return node.op == "Bitcast" or any(looks_at_bits(given, depth - 1) for given in node.input)

    for node in graph_def.node:
        if node.op not in ("ArgMax", "ArgMin"):
            continue
        choice = producer(node.input[0])
        if choice is not None and choice.op == "SelectV2" and looks_at_bits(choice.input[0], 4):
            node.input[0] = choice.input[2]
