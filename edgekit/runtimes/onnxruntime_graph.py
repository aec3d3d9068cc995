"""What onnxruntime makes of a file: read the graph that it dumps after its optimizations."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx

from edgekit.runtimes import Delegation, Fallback

_HALF = onnx.TensorProto.FLOAT16
_CODES = frozenset({onnx.TensorProto.INT8, onnx.TensorProto.UINT8})

# Conversions and layout changes at the border of kernels; they calculate nothing.
_CONVERSIONS = frozenset(
    {"Cast", "DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear", "ReorderInput", "ReorderOutput"}
)
# Operations with 8-bit inputs and another type of output.
_INTEGER_TO_FLOAT = frozenset({"DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"})


def read_delegation(source: Path, optimized: Path, *, wants_int8: bool = False) -> Delegation:
    """Count the operations of ``optimized``, onnxruntime's form of ``source``, and name those that miss their kernel.

    In a static int8 file everything should run on codes, in a float16 file in float16; in others float is as asked.
    """
    file = onnx.load(source, load_external_data=False).graph
    wanted, names = "codes" if wants_int8 else _wanted(file), [node.name for node in file.node]
    operations = list(_operations(onnx.load(optimized, load_external_data=False).graph))
    missed = [(node, kind) for node, kind in operations if wanted and not _satisfies(node, kind, wanted)]
    fallback = tuple(
        Fallback(op=node.op_type, node=_source_name(node, names), reason=_REASONS[wanted]) for node, _ in missed
    )
    return Delegation(len(operations) - len(missed), len(operations), fallback)


_REASONS = {
    "codes": "onnxruntime runs it in float, between DequantizeLinear and QuantizeLinear",
    "half": "onnxruntime's CPU kernels for it are float32, between Casts",
}


def _wanted(graph: onnx.GraphProto) -> str:
    """What the file asks for: "codes", "half", or nothing special."""
    if any(node.op_type == "QuantizeLinear" for node in graph.node) or _types(graph.input) & _CODES:
        return "codes"
    if any(initializer.data_type == _HALF for initializer in graph.initializer):
        return "half"
    return ""


def _types(values: Iterable[onnx.ValueInfoProto]) -> set[int]:
    return {value.type.tensor_type.elem_type for value in values}


def _operations(graph: onnx.GraphProto) -> Iterator[tuple[onnx.NodeProto, int]]:
    """Every operation with its first input's element type (0: unknown); types flow from first inputs on."""
    types = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        kind = types.get(node.input[0], 0) if node.input else 0
        output = _output_type(node, types, kind)
        types.update(dict.fromkeys(node.output, output))
        if node.op_type not in _CONVERSIONS:
            yield node, kind


def _output_type(node: onnx.NodeProto, types: dict[str, int], kind: int) -> int:
    match node.op_type:
        case "Cast":
            return next(int(attribute.i) for attribute in node.attribute if attribute.name == "to")
        case "QuantizeLinear":
            return types.get(node.input[2], onnx.TensorProto.UINT8) if len(node.input) > 2 else onnx.TensorProto.UINT8
        case "DequantizeLinear":
            return types.get(node.input[1], onnx.TensorProto.FLOAT)
        case "DynamicQuantizeLinear":
            return onnx.TensorProto.UINT8
        case "ConvInteger" | "MatMulInteger":
            return onnx.TensorProto.INT32
        case op if op in _INTEGER_TO_FLOAT:
            return onnx.TensorProto.FLOAT
        case _:
            return kind


def _satisfies(node: onnx.NodeProto, kind: int, wanted: str) -> bool:
    if wanted == "half":
        return kind == _HALF
    return kind in _CODES or node.op_type.startswith("QLinear") or node.op_type in _INTEGER_TO_FLOAT


def _source_name(node: onnx.NodeProto, names: Iterable[str]) -> str:
    """The source node that became ``node``: fused nodes are named ``<source name>_token_7`` and the like."""
    candidates = [name for name in names if name and node.name.startswith(name)]
    return max(candidates, key=len, default=node.name or node.output[0])
