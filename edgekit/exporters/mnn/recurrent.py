"""LSTM, GRU and RNN, where MNN takes them and computes something else."""

import numpy as np
import onnx_ir as ir

from edgekit.exporters.mnn.editor import GraphEditor, static_shape
from edgekit.exporters.mnn.strip import FloatGraph


def recurrent(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """A layer that runs forwards or both ways, and the states after the last step in a form that MNN gets right.

    MNN runs ``direction=reverse`` forwards, and gives a wrong last state for a GRU that has two directions or whose
    sequence nobody reads. The states of an LSTM of one step come out in another layout when they are outputs.
    """
    source = node.inputs[0]
    if source is None:
        return
    steps, direction = static_shape(source)[0], node.attributes.get_string("direction", "forward")
    turned = direction == "reverse" and steps > 1
    if not turned and steps > 1 and node.op_type != "GRU":
        return
    outputs = _layer(editor, node, _backwards(editor, node, source) if turned else source, turned)
    sequence = outputs[0]
    if (node.op_type == "GRU" or steps == 1) and len(node.outputs) > 1:
        outputs[1] = _last(editor, node, sequence, 2 if direction == "bidirectional" else 1)
    if node.op_type == "LSTM" and len(node.outputs) > 2 and steps == 1:
        outputs[2] = _rewritten(editor, node, outputs[2])
    if turned:
        outputs[0] = _backwards(editor, node, sequence)
    for old, new in zip(tuple(node.outputs), outputs, strict=True):
        if old.uses() or old.is_graph_output():
            editor.replace(old, new)


def _layer(editor: GraphEditor, node: ir.Node, source: ir.Value, turned: bool) -> list[ir.Value]:
    """A copy of ``node`` on ``source``, in front of it, forwards when it is ``turned``; its outputs."""
    attributes = {name: attribute for name, attribute in node.attributes.items() if name != "direction" or not turned}
    steps, batch = static_shape(source)[:2]
    weights = node.inputs[2]
    assert weights is not None
    directions, _, hidden = static_shape(weights)
    shapes = [(steps, directions, batch, hidden), *[(directions, batch, hidden)] * 2]
    outputs = [
        ir.Value(
            name=editor.unique(f"{node.name}_state_{index}"),
            shape=ir.Shape(shapes[index]),
            type=ir.TensorType(ir.DataType.FLOAT),
        )
        for index in range(len(node.outputs))
    ]
    copy = ir.Node(
        "",
        node.op_type,
        [source, *node.inputs[1:]],
        attributes.values(),
        outputs=outputs,
        name=editor.unique(f"{node.name}_copy"),
    )
    editor.graph.insert_before(node, copy)
    return outputs


def _backwards(editor: GraphEditor, node: ir.Node, value: ir.Value) -> ir.Value:
    shape = static_shape(value)
    indices = editor.constant(np.arange(shape[0] - 1, -1, -1, dtype=np.int64), f"{value.name}_steps")
    return editor.node(node, "Gather", [value, indices], {"axis": 0}, shape=shape, name=f"{value.name}_backwards")


def _last(editor: GraphEditor, node: ir.Node, sequence: ir.Value, directions: int) -> ir.Value:
    """The last step of the first direction and the first step of the second: [directions, batch, hidden]."""
    steps, _, batch, hidden = static_shape(sequence)
    parts = []
    for direction, step in zip(range(directions), (steps - 1, 0), strict=False):
        name = f"{sequence.name}_last_{direction}"
        bounds = [
            editor.integers(numbers, f"{name}_bounds") for numbers in ((step, direction), (step + 1, direction + 1))
        ]
        inputs = [sequence, *bounds, editor.integers((0, 1), f"{name}_axes")]
        part = editor.node(node, "Slice", inputs, shape=(1, 1, batch, hidden), name=name)
        parts.append(editor.reshape(node, part, (1, batch, hidden), f"{name}_state"))
    if directions == 1:
        return parts[0]
    shape = (directions, batch, hidden)
    return editor.node(node, "Concat", parts, {"axis": 0}, shape=shape, name=f"{sequence.name}_last")


def _rewritten(editor: GraphEditor, node: ir.Node, value: ir.Value) -> ir.Value:
    shape = static_shape(value)
    flat = editor.reshape(node, value, (shape[0] * shape[1] * shape[2],), f"{value.name}_flat")
    return editor.node(
        node, "Reshape", [flat, editor.integers(shape, f"{value.name}_shape")], shape=shape, name=f"{value.name}_whole"
    )
