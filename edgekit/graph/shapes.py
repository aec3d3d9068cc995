"""Static shapes, dtypes and constant values, in one walk through the graph."""

import math
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from edgekit.graph import OPSET
from edgekit.graph.edit import GraphEditor
from edgekit.graph.evaluate import evaluate, is_deterministic
from edgekit.graph.queries import attribute, constant_value, input_of, is_constant, is_op, static_shape

Constants = dict[ir.Value, np.ndarray[Any, Any]]

_SHAPE_DATA_ELEMENTS = 1024
"""Constants up to this many elements may be shapes, axes, pads or scales, so shape inference gets to see them."""

SHAPE_OF_FIRST = ("GroupNormalization", "MeanVarianceNormalization")
"""All operators of the pinned opset without a shape inference of their own (they are functions): output = first input.

ONNX infers nothing for one whose body depends on its inputs (GroupNormalization), not even over a whole graph.
"""

_LARGEST_GROWTH = 64 * 2**20
"""Bytes that a computed constant may have although its inputs are smaller (Expand, Tile, ConstantOfShape, Range...)."""


def infer_shapes(model: ir.Model) -> ir.Model:
    """Gives every value the dtype and the shape that follow from the graph inputs' (and returns the same model).

    Shape computations (Shape, Gather, Concat, ... into Reshape, Pad, Resize, ...) are evaluated on the way, so
    everything that depends only on the input shapes comes out static. An ``If`` on a constant condition is replaced by
    its branch. What was known of a value stays where nothing can be inferred. Weights are neither copied nor
    serialized.
    """
    _infer_control_flow(model)
    propagate(model, largest=_SHAPE_DATA_ELEMENTS * 8, refresh=True)
    return model


def propagate(model: ir.Model, *, largest: int | None = None, refresh: bool = False) -> Constants:
    """Infers shapes and returns every value that does not depend on the graph inputs; their nodes stay in place.

    ``largest``: evaluate no constant of more bytes (None: fold weights too). ``refresh``: infer also where a static
    shape is given already (after the inputs' shapes changed).
    """
    constants: Constants = {}
    opset = model.opset_imports.get("", OPSET)
    for node in model.graph:
        if is_op(node, "If") and (branch := _chosen_branch(node, constants)) is not None:
            _inline(node, branch)
            continue
        if refresh or not all(_is_complete(value) for value in node.outputs):
            _infer_node(node, constants, opset)
        _evaluate_node(node, constants, largest)
    return constants


def _infer_control_flow(model: ir.Model) -> None:
    """Types and shapes inside and behind Loop, Scan and If, by ONNX's whole-graph inference, when the model has any."""
    if any(a.type == ir.AttributeType.GRAPH for node in model.graph for a in node.attributes.values()):
        common.ShapeInferencePass(check_type=False, strict_mode=False)(model)


def _is_complete(value: ir.Value) -> bool:
    return not value.name or (value.dtype is not None and static_shape(value) is not None)


def _array(value: ir.Value | None, constants: Constants) -> np.ndarray[Any, Any] | None:
    if value is not None and value in constants:
        return constants[value]
    return constant_value(value)


def _size(value: ir.Value) -> int | None:
    shape = static_shape(value)
    return None if shape is None else math.prod(shape)


def _infer_node(node: ir.Node, constants: Constants, opset: int) -> None:
    if is_op(node, *SHAPE_OF_FIRST):
        source = input_of(node, 0)
        if source is not None and source.type is not None:
            node.outputs[0].type = ir.TensorType(source.type.dtype)
            node.outputs[0].shape = source.shape.copy() if source.shape is not None else None
        return
    if not onnx.defs.has(node.op_type, opset, node.domain):
        return
    types: dict[str, onnx.TypeProto] = {}
    data: dict[str, onnx.TensorProto] = {}
    for value in node.inputs:
        if value is None or not value.name:
            continue
        if value.type is None:
            return
        types[value.name] = ir.serde.serialize_type(value.type)
        if value.shape is not None:
            ir.serde.serialize_shape_into(types[value.name], value.shape)
        if value in constants or is_constant(value):
            data.update(_shape_data(value, constants))
    try:
        inferred = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(node.op_type, opset, node.domain),
            ir.serde.serialize_node(node),
            types,
            data,
            opset_imports=[onnx.helper.make_opsetid("", opset)],
        )
    except (onnx.shape_inference.InferenceError, RuntimeError):
        # The runtimes accept a few things that the inference does not; whoever needs the shape says that it is missing.
        return
    for value in node.outputs:
        if value.name in inferred:
            _apply(value, inferred[value.name])


def _shape_data(value: ir.Value, constants: Constants) -> dict[str, onnx.TensorProto]:
    size = _size(value) if value not in constants else constants[value].size
    if size is None or size > _SHAPE_DATA_ELEMENTS:
        return {}
    array = _array(value, constants)
    return {} if array is None else {value.name or "": onnx.numpy_helper.from_array(array)}


def _apply(value: ir.Value, inferred: onnx.TypeProto) -> None:
    new_type = ir.serde.deserialize_type_proto_for_type(inferred)
    if new_type is not None:
        value.type = new_type
    new = ir.serde.deserialize_type_proto_for_shape(inferred)
    if new is None:
        return
    old = value.shape
    if old is not None and len(old) == len(new):
        new = ir.Shape([n if isinstance(n, int) else o for n, o in zip(new.dims, old.dims, strict=True)])
    value.shape = new


def _evaluate_node(node: ir.Node, constants: Constants, largest: int | None) -> None:
    if is_op(node, "Shape", "Size"):
        shape = static_shape(input_of(node, 0))
        if shape is not None:
            constants[node.outputs[0]] = _shape_or_size(node, shape)
        return
    if not is_deterministic(node) or any(
        v is not None and v not in constants and not is_constant(v) for v in node.inputs
    ):
        return
    if not _worth_evaluating(node, constants, largest):
        return
    inputs = [_array(value, constants) for value in node.inputs]
    if any(array is None and value is not None for array, value in zip(inputs, node.inputs, strict=True)):
        return
    results = [constant_value(node.outputs[0])] if is_op(node, "Constant") else evaluate(node, inputs)
    if results is None:
        return
    for value, array in zip([output for output in node.outputs if output.name], results, strict=True):
        if array is None:
            continue
        constants[value] = array
        value.shape = ir.Shape(array.shape)
        value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))


def _shape_or_size(node: ir.Node, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    if node.op_type == "Size":
        return np.array(math.prod(shape), dtype=np.int64)
    start, end = attribute(node, "start"), attribute(node, "end")
    return np.array(shape[slice(start or 0, end)], dtype=np.int64)


def _worth_evaluating(node: ir.Node, constants: Constants, largest: int | None) -> bool:
    sizes = [_bytes(value) for value in node.outputs if value.name]
    if any(size is None for size in sizes):
        # Only data-dependent shapes (NonZero, Unique, ...) stay unknown with constant inputs; these are never larger
        # than that.
        return largest is None and not is_op(node, "ConstantOfShape", "Expand", "Tile", "Range")
    total = sum(size for size in sizes if size is not None)
    if largest is not None and total > largest:
        return False
    given = sum(_bytes(value) or 0 for value in node.inputs if value is not None)
    return total <= max(_LARGEST_GROWTH, 2 * given)


def _bytes(value: ir.Value) -> int | None:
    size = _size(value)
    return None if size is None or value.dtype is None else math.ceil(size * value.dtype.itemsize)


def _chosen_branch(node: ir.Node, constants: Constants) -> ir.Graph | None:
    condition = _array(node.inputs[0], constants)
    if condition is None or condition.size != 1:
        return None
    return node.attributes["then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"].as_graph()


def _inline(node: ir.Node, branch: ir.Graph) -> None:
    """Given: ``y = If(constant) {then: f(x), else: g(x)}``. Result: ``y = f(x)`` (or ``g``), in the outer graph."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    editor = GraphEditor(graph)
    for value in list(branch.initializers.values()):
        del branch.initializers[value.name or ""]
        value.name = editor.unique_name(value.name or "constant")
        graph.register_initializer(value)
    results = list(branch.outputs)
    branch.outputs.clear()
    anchor = node
    for inner in list(branch):
        branch.remove(inner)
        inner.name = None
        graph.insert_after(anchor, inner)
        anchor = inner
    for old, new in zip(list(node.outputs), results, strict=True):
        if not editor.replace(old, new, take_name=new.producer() is not None and not new.is_graph_output()):
            continue
    if node.graph is graph:
        graph.remove(node, safe=True)
