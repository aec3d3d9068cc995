"""The compressed constants of a TFLite file (half floats, sparse, integers of dynamic-range files) as float32."""

from typing import Any

import numpy as np

from edgekit.importers.tensorflow_worker.tflite_sparsity import densified

_INTEGER_DTYPES = {"INT8": np.int8, "UINT8": np.uint8, "INT16": np.int16, "UINT16": np.uint16, "INT4": np.int8}


def widen_constants(model: Any) -> None:
    """Make integer weights with a scale, and what a DENSIFY or a DEQUANTIZE makes of constants, float32 in place.

    ``model`` is a ``ModelT``. Activations are untouched: the caller has made sure that they are float.
    """
    from ai_edge_litert import schema_py_generated as schema

    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.sparsity is not None and has_data(model, tensor):
                _fill(model, tensor, densified(tensor, model.buffers[tensor.buffer].data))
            if is_integer_code(tensor) and has_data(model, tensor):
                _replace(model, tensor, _dequantized(model, tensor))
        graph.operators = [op for op in graph.operators if not _folded(model, graph, op, schema)]


def is_integer_code(tensor: Any) -> bool:
    """Whether ``tensor`` holds integers that stand for reals."""
    quantization = tensor.quantization
    return type_name(tensor) in _INTEGER_DTYPES and quantization is not None and _length(quantization.scale) > 0


def has_data(model: Any, tensor: Any) -> bool:
    """Whether ``tensor`` is a constant of the file."""
    return _length(model.buffers[tensor.buffer].data) > 0


def type_name(tensor: Any) -> str:
    """The tensor's type in the schema's words, ``INT8``."""
    from ai_edge_litert import schema_py_generated as schema

    return next((name for name, value in vars(schema.TensorType).items() if value == tensor.type), "unknown")


def _length(values: Any) -> int:
    return 0 if values is None else len(values)


def _dequantized(model: Any, tensor: Any) -> np.ndarray:
    """``(code - zero_point) * scale``, per tensor or along the quantized dimension."""
    data = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
    shape = [int(size) for size in tensor.shape]
    if type_name(tensor) == "INT4":
        nibbles = np.stack([data & 15, data >> 4], axis=-1).reshape(-1)[: int(np.prod(shape))]
        codes = ((nibbles.astype(np.int8) ^ 8) - 8).astype(np.float32)
    else:
        codes = data.view(_INTEGER_DTYPES[type_name(tensor)]).astype(np.float32)
    quantization = tensor.quantization
    along = [1] * len(shape)
    if len(quantization.scale) > 1:
        along[quantization.quantizedDimension] = len(quantization.scale)
    scale = np.asarray(quantization.scale, np.float32).reshape(along)
    zero_point = np.asarray(quantization.zeroPoint, np.float32) if _length(quantization.zeroPoint) else np.float32(0)
    zero_point = zero_point.reshape(along) if np.size(zero_point) == scale.size else zero_point
    return np.asarray((codes.reshape(shape) - zero_point) * scale, np.float32)


def _replace(model: Any, tensor: Any, values: np.ndarray) -> None:
    from ai_edge_litert import schema_py_generated as schema

    _fill(model, tensor, values)
    tensor.type = schema.TensorType.FLOAT32
    tensor.quantization = None


def _fill(model: Any, tensor: Any, values: np.ndarray) -> None:
    from ai_edge_litert import schema_py_generated as schema

    buffer = schema.BufferT()
    buffer.data = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
    model.buffers.append(buffer)
    tensor.buffer = len(model.buffers) - 1
    tensor.sparsity = None


def _folded(model: Any, graph: Any, operator: Any, schema: Any) -> bool:
    """Whether ``operator`` is a DENSIFY or a DEQUANTIZE of a constant, whose result is made a constant here."""
    code = model.operatorCodes[operator.opcodeIndex]
    kind = max(code.builtinCode, code.deprecatedBuiltinCode)
    if kind not in (schema.BuiltinOperator.DENSIFY, schema.BuiltinOperator.DEQUANTIZE):
        return False
    source, result = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if not has_data(model, source):
        return False
    if kind == schema.BuiltinOperator.DENSIFY:  # ``source`` has been made dense, and float if it was of integers
        result.buffer, result.type, result.quantization = source.buffer, source.type, source.quantization
        return True
    if source.type == schema.TensorType.FLOAT16:
        half = np.asarray(model.buffers[source.buffer].data, np.uint8).view(np.float16)
        _replace(model, result, half.astype(np.float32))
    elif source.type == schema.TensorType.FLOAT32:
        result.buffer = source.buffer
    return source.type in (schema.TensorType.FLOAT16, schema.TensorType.FLOAT32)
