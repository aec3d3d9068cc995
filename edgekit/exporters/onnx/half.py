"""float16: weights and arithmetic in half precision, float32 at the interface."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir

from edgekit.graph import OPSET
from edgekit.graph.edit import GraphEditor
from edgekit.graph.queries import constant_value, is_op

_FLOAT, _HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16


def to_half(model: ir.Model) -> None:
    """Turn every float32 tensor of the graph into float16, in place.

    Casts stand behind the inputs, before the outputs, and around operations that ONNX does not define for float16.
    """
    editor = GraphEditor(model.graph)
    halves: dict[ir.Value, ir.Value] = {}
    for node in list(model.graph):
        if _takes_half(node):
            _halve_inputs(node, editor, halves)
            _halve_cast(node)
            for output in node.outputs:
                _set_type(output)
        else:
            _wrap(node, editor, halves)
    _restore_outputs(model.graph, editor)


def _takes_half(node: ir.Node) -> bool:
    """Whether every float tensor of the node may be float16; float constants that may not are left as they are."""
    graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    if node.domain not in ("", "ai.onnx") or any(item.type in graphs for item in node.attributes.values()):
        return False
    schema = onnx.defs.get_schema(node.op_type, OPSET, "")
    computed = [value if constant_value(value) is None else None for value in node.inputs]
    return all(
        value is None or value.dtype != _FLOAT or _allows_half(parameters, index)
        for values, parameters in ((computed, schema.inputs), (node.outputs, schema.outputs))
        for index, value in enumerate(values)
    )


def _allows_half(parameters: Sequence[onnx.defs.OpSchema.FormalParameter], index: int) -> bool:
    # A variadic parameter is the last one described.
    return "tensor(float16)" in parameters[min(index, len(parameters) - 1)].types


def _halve_inputs(node: ir.Node, editor: GraphEditor, halves: dict[ir.Value, ir.Value]) -> None:
    schema = onnx.defs.get_schema(node.op_type, OPSET, "")
    for index, value in enumerate(node.inputs):
        if value is None or value.dtype != _FLOAT or not _allows_half(schema.inputs, index):
            continue
        if value not in halves:
            halves[value] = _half_of(value, node, editor)
        node.replace_input_with(index, halves[value])


def _half_of(value: ir.Value, node: ir.Node, editor: GraphEditor) -> ir.Value:
    array = constant_value(value)
    if array is not None:
        return editor.constant(array.astype(np.float16), f"{value.name}_half")
    half = editor.insert(node, "Cast", [value], {"to": _HALF.value}, like=value)
    half.type = ir.TensorType(_HALF)
    return half


def _halve_cast(node: ir.Node) -> None:
    if is_op(node, "Cast") and node.attributes.get_int("to") == _FLOAT.value:
        node.attributes["to"] = ir.AttrInt64("to", _HALF.value)


def _set_type(output: ir.Value) -> None:
    if output.dtype == _FLOAT:
        output.type = ir.TensorType(_HALF)


def _wrap(node: ir.Node, editor: GraphEditor, halves: dict[ir.Value, ir.Value]) -> None:
    """Feed a float operation with float; its readers, which come later, cast its outputs themselves."""
    for index, value in enumerate(node.inputs):
        if value is not None and value.dtype == _HALF:
            restored = editor.insert(node, "Cast", [value], {"to": _FLOAT.value}, like=value)
            restored.type = ir.TensorType(_FLOAT)
            node.replace_input_with(index, restored)


def _restore_outputs(graph: ir.Graph, editor: GraphEditor) -> None:
    for index, value in enumerate(list(graph.outputs)):
        if value.dtype != _HALF:
            continue
        name = value.name
        value.name = editor.unique_name(f"{name}_half")
        output = ir.Value(name=name, type=ir.TensorType(_FLOAT), shape=value.shape)
        graph.append(ir.node("Cast", [value], {"to": _FLOAT.value}, outputs=[output], name=f"{name}_cast"))
        graph.outputs[index] = output
