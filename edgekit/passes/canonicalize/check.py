"""What the canonical form promises, as a check for tests and for debugging a pass."""

from collections.abc import Iterator

import onnx_ir as ir

from edgekit.graph.queries import (
    attribute,
    constant_value,
    input_of,
    is_constant,
    is_floating,
    is_op,
    shape_of,
    static_shape,
)
from edgekit.graph.windows import CONVOLUTIONS, POOLS

_ABSENT = ("Constant", "Dropout", "BatchNormalization", "Flatten", "Squeeze", "Unsqueeze", "Shape", "Size")


def violations(model: ir.Model) -> list[str]:
    """One sentence for each promise that the graph breaks; empty for a canonical graph."""
    return [*_naming(model.graph), *_typing(model.graph), *(text for node in model.graph for text in _form(node))]


def _naming(graph: ir.Graph) -> Iterator[str]:
    nodes = [node.name for node in graph]
    if not all(nodes) or len(set(nodes)) != len(nodes):
        yield "node names are missing or repeated"
    values = [value.name for node in graph for value in node.outputs if value.name]
    values += [*graph.initializers, *(value.name for value in graph.inputs if value.name)]
    if len(set(values)) != len(values):
        yield "value names are repeated"
    for name, value in graph.initializers.items():
        if not value.uses() and not value.is_graph_output():
            yield f"initializer {name!r} is not used"


def _typing(graph: ir.Graph) -> Iterator[str]:
    for node in graph:
        for value in node.outputs:
            if value.name and (static_shape(value) is None or value.dtype is None):
                yield f"value {value.name!r} has no static shape or no dtype"
        if not any(value.uses() or value.is_graph_output() for value in node.outputs):
            yield f"node {node.name!r} is not used"


def _form(node: ir.Node) -> Iterator[str]:
    if is_op(node, *_ABSENT):
        yield f"node {node.name!r} is a {node.op_type}"
    if is_op(node, "Identity") and not node.outputs[0].is_graph_output():
        yield f"node {node.name!r} is an Identity inside the graph"
    if is_op(node, *CONVOLUTIONS, *POOLS):
        yield from _window_form(node)
    if is_op(node, "Gemm") and is_floating(node.outputs[0]):
        yield from _gemm_form(node)
    if is_op(node, "Clip") and is_floating(node.outputs[0]):
        limits = [value for value in node.inputs[1:] if value is not None]
        if any(is_constant(value) and shape_of(value) != () for value in limits):
            yield f"node {node.name!r}: Clip with bounds that are no scalars"
    if is_op(node, "Reshape"):
        shape = constant_value(node.inputs[1])
        if shape is not None and tuple(shape.tolist()) != static_shape(node.outputs[0]):
            yield f"node {node.name!r}: Reshape to a shape that is not written out"


def _window_form(node: ir.Node) -> Iterator[str]:
    wanted = ["kernel_shape", "strides", "pads", "dilations"] + ["group"] * (node.op_type in CONVOLUTIONS)
    missing = [name for name in wanted if name not in node.attributes]
    if missing or "auto_pad" in node.attributes:
        yield f"node {node.name!r}: {node.op_type} without explicit {', '.join(missing) or 'pads'}"


def _gemm_form(node: ir.Node) -> Iterator[str]:
    numbers = [attribute(node, name) for name in ("alpha", "beta", "transA", "transB")]
    bias = input_of(node, 2)
    if numbers != [1, 1, 0, 1] or not is_constant(node.inputs[1]):
        yield f"node {node.name!r}: Gemm that is no fully connected layer x wᵀ + b"
    if bias is not None and (not is_constant(bias) or shape_of(bias) != shape_of(node.outputs[0])[1:]):
        yield f"node {node.name!r}: Gemm with a bias that is not [out]"
