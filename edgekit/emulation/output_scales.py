"""The step between two neighbouring values of an artifact's outputs, read from the file: its last integers' scale.

An int8 artifact with a float interface ends in a dequantization, whose scale is the least difference that its outputs
can have.
"""

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgekit.runtimes.mnn_file import NET_TENSOR_DESCRIBE, MnnFile

# What only moves values: the scale behind it is the one before it.
_ONNX_MOVES = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice"})
_TFLITE_MOVES = frozenset({"RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "SLICE", "STRIDED_SLICE"})

# MNN.fbs: TensorDescribe {index 1, quantInfo 4}, TensorQuantInfo {scale 0}.
_DESCRIBE_INDEX, _DESCRIBE_QUANT_INFO, _QUANT_INFO_SCALE = 1, 4, 0


def output_scales(path: Path, format_name: str) -> dict[str, float]:
    """The scales of the outputs that come from integers, by the output's name in the file; others are left out."""
    return _READERS[format_name](path)


def _read_onnx(path: Path) -> dict[str, float]:
    import onnx_ir as ir

    from edgekit.graph import storage

    scales = {}
    for output in storage.load(path).graph.outputs:
        node = output.producer()
        while node is not None and node.op_type in _ONNX_MOVES and node.inputs[0] is not None:
            node = node.inputs[0].producer()
        if node is not None and node.op_type == "DequantizeLinear":
            scale = ir.convenience.get_const_tensor(node.inputs[1]) if node.inputs[1] is not None else None
            if scale is not None and scale.size == 1:
                scales[output.name or ""] = float(scale.numpy().reshape(-1)[0])
    return scales


def _read_tflite(path: Path) -> dict[str, float]:
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = model.subgraphs[0]
    producers = {int(tensor): operator for operator in graph.operators for tensor in operator.outputs}
    signature = {int(entry.tensorIndex): entry.name.decode() for entry in _outputs_of_signature(model)}
    scales = {}
    for index in map(int, graph.outputs):
        tensor, name = index, signature.get(index, graph.tensors[index].name.decode())
        while (operator := producers.get(tensor)) is not None:
            kind = names.get(_builtin(model.operatorCodes[operator.opcodeIndex]), "")
            if kind not in _TFLITE_MOVES | {"DEQUANTIZE"}:
                break
            tensor = int(operator.inputs[0])
            if kind == "DEQUANTIZE":
                scales[name] = float(graph.tensors[tensor].quantization.scale[0])
                break
    return scales


def _outputs_of_signature(model: Any) -> list[Any]:
    return list(model.signatureDefs[0].outputs) if model.signatureDefs else []


def _builtin(code: Any) -> int:
    # The older field holds the codes below 128.
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _read_mnn(path: Path) -> dict[str, float]:
    file = MnnFile(path.read_bytes(), path)
    described = dict(_mnn_scales(file, at) for at in file.elements(file.field(file.root, NET_TENSOR_DESCRIBE)))
    producers = {tensor: operation for operation in file.operations for tensor in operation.outputs}
    scales = {}
    for name in file.outputs:
        tensor = file.tensor_names.index(name)
        while tensor not in described and producers[tensor].type_name == "ConvertTensor":
            tensor = producers[tensor].inputs[0]
        if described.get(tensor):
            scales[name] = described[tensor]
    return scales


def _mnn_scales(file: MnnFile, table: int) -> tuple[int, float]:
    """A tensor's index and scale, 0 for one that has none."""
    index, info = file.field(table, _DESCRIBE_INDEX), file.field(table, _DESCRIBE_QUANT_INFO)
    number = struct.unpack_from("<i", file.content, index)[0] if index else 0
    scale = file.field(file.follow(info), _QUANT_INFO_SCALE) if info else 0
    return number, struct.unpack_from("<f", file.content, scale)[0] if scale else 0.0


_READERS: Mapping[str, Callable[[Path], dict[str, float]]] = {
    "onnx": _read_onnx,
    "tflite": _read_tflite,
    "mnn": _read_mnn,
}
