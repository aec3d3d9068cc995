"""What a written file says of itself: the lowest opset that describes it, the IR version, the producer."""

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

import edgekit
from edgekit.graph import OPSET
from edgekit.graph.queries import is_op

# Quantization per axis needs 13; IR 8 is what onnxruntime 1.10 (the oldest still met on devices) reads.
_OLDEST_OPSET = 13
_IR_VERSIONS = {13: 8, 14: 8, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10}


def stamp(model: ir.Model) -> None:
    """Drop what the file does not need; declare the lowest opset at which all nodes mean the same, and the producer."""
    RemoveUnusedNodesPass()(model)
    for node in model.graph.all_nodes():
        _drop_plain_dilations(node)
    opset = max([_OLDEST_OPSET, *(_oldest_opset(node) for node in model.graph.all_nodes())])
    model.graph.opset_imports[""] = opset
    model.ir_version = _IR_VERSIONS[opset]
    model.producer_name = "edgekit"
    model.producer_version = edgekit.__version__
    model.doc_string = None
    model.graph.name = model.graph.name or "edgekit"


def _drop_plain_dilations(node: ir.Node) -> None:
    # AveragePool has them since opset 19; onnxruntime's QLinearAveragePool refuses even ones.
    dilations = node.attributes.get_ints("dilations", []) if is_op(node, "AveragePool") else []
    if dilations and set(dilations) == {1}:
        del node.attributes["dilations"]


# Values that an attribute may have since an opset whose list of attributes is that of the opset before.
_NEW_VALUES = {
    ("GridSample", "mode", "linear"): 20,
    ("GridSample", "mode", "cubic"): 20,
    ("ScatterND", "reduction", "max"): 18,
    ("ScatterND", "reduction", "min"): 18,
    ("ScatterElements", "reduction", "max"): 18,
    ("ScatterElements", "reduction", "min"): 18,
    ("Pad", "mode", "wrap"): 19,
    ("Resize", "coordinate_transformation_mode", "half_pixel_symmetric"): 19,
}


def _oldest_opset(node: ir.Node) -> int:
    """The oldest opset whose definition of ``node`` has its attributes, its inputs and their types."""
    if node.domain not in ("", "ai.onnx"):
        return _OLDEST_OPSET
    fitting = OPSET
    needed = max([_OLDEST_OPSET, *(since for key, since in _NEW_VALUES.items() if _says(node, *key))])
    pinned = onnx.defs.get_schema(node.op_type, OPSET, "")
    for opset in range(OPSET - 1, needed - 1, -1):
        try:
            schema = onnx.defs.get_schema(node.op_type, opset, "")
        except onnx.defs.SchemaError:
            break
        if not _fits(node, schema) or not _same_defaults(node, schema, pinned):
            break
        fitting = opset
    return fitting


def _says(node: ir.Node, op_type: str, attribute: str, value: str) -> bool:
    return node.op_type == op_type and node.attributes.get_string(attribute) == value


def _same_defaults(node: ir.Node, schema: "onnx.defs.OpSchema", pinned: "onnx.defs.OpSchema") -> bool:
    """Whether the attributes that ``node`` leaves out mean the same in both definitions."""
    return all(
        name in node.attributes
        or attribute.default_value.SerializeToString() == pinned.attributes[name].default_value.SerializeToString()
        for name, attribute in schema.attributes.items()
        if name in pinned.attributes
    )


def _fits(node: ir.Node, schema: "onnx.defs.OpSchema") -> bool:
    if not set(node.attributes) <= set(schema.attributes) or len(node.inputs) > schema.max_input:
        return False
    return all(
        value is None or value.dtype is None or _type_name(value) in _allowed(schema, index)
        for index, value in enumerate(node.inputs)
    )


def _allowed(schema: "onnx.defs.OpSchema", index: int) -> set[str]:
    # A variadic input is the last one described.
    return set(schema.inputs[min(index, len(schema.inputs) - 1)].types)


def _type_name(value: ir.Value) -> str:
    assert value.dtype is not None
    name = value.dtype.name.lower()
    return f"tensor({'bool' if name == 'bool' else name})".replace("tensor(float32)", "tensor(float)")
