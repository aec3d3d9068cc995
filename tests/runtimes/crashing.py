"""A .tflite file that really crashes LiteRT: a loop whose body is the loop itself recurses until the stack ends."""

from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema


def save_crashing_tflite(path: Path) -> Path:
    loop = schema.OperatorT()
    loop.opcodeIndex, loop.inputs, loop.outputs = 0, [0], [1]
    loop.builtinOptionsType, loop.builtinOptions = schema.BuiltinOptions.WhileOptions, schema.WhileOptionsT()
    loop.builtinOptions.condSubgraphIndex, loop.builtinOptions.bodySubgraphIndex = 1, 0
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.WHILE
    code.version = 1
    model = schema.ModelT()
    model.version, model.operatorCodes, model.buffers = 3, [code], [schema.BufferT()]
    model.subgraphs = [_subgraph(schema.TensorType.FLOAT32, [loop]), _subgraph(schema.TensorType.BOOL, [])]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def _subgraph(output_type: int, operators: list) -> schema.SubGraphT:
    graph = schema.SubGraphT()
    graph.tensors = [_tensor("in", schema.TensorType.FLOAT32), _tensor("out", output_type)]
    graph.inputs, graph.outputs, graph.operators = [0], [1], operators
    return graph


def _tensor(name: str, kind: int) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, [1], kind, 0
    return tensor
