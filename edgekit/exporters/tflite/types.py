"""Which types the file carries."""

from typing import Any

import numpy as np
import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.exporters.tflite.model import Array

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16})
"""ONNX types that are float32 inside the file."""

_CARRIED: dict[ir.DataType, type[Any]] = {
    **dict.fromkeys(FLOATS, np.float32),
    ir.DataType.INT64: np.int32,
    ir.DataType.INT32: np.int32,
    ir.DataType.INT16: np.int16,
    ir.DataType.INT8: np.int8,
    ir.DataType.UINT8: np.uint8,
    ir.DataType.UINT16: np.int32,
    ir.DataType.UINT32: np.int32,
    ir.DataType.UINT64: np.int32,
    ir.DataType.BOOL: np.bool_,
}
_INTERFACE: dict[ir.DataType, type[Any]] = {
    ir.DataType.INT64: np.int64,
    ir.DataType.DOUBLE: np.float64,
    ir.DataType.FLOAT16: np.float16,
    ir.DataType.UINT16: np.uint16,
    ir.DataType.UINT32: np.uint32,
}


def carried_dtype(value: ir.Value) -> "np.dtype[Any]":
    """The type of the tensors that hold ``value`` inside the file."""
    if value.dtype not in _CARRIED:
        raise UnsupportedError(f"value {value.name!r} has type {value.dtype}, which no operator here takes")
    return np.dtype(_CARRIED[value.dtype])


def interface_dtype(value: ir.Value) -> "np.dtype[Any]":
    """The type of an input or output of the file: the source model's own."""
    wanted = _INTERFACE.get(value.dtype) if value.dtype is not None else None
    return carried_dtype(value) if wanted is None else np.dtype(wanted)


def carried_array(array: Array, value: ir.Value | None) -> Array:
    """``array`` in the carried type; int64 sentinels such as "to the end" saturate to int32."""
    if value is None or value.dtype not in _CARRIED:
        return array
    wanted = np.dtype(_CARRIED[value.dtype])
    if np.issubdtype(array.dtype, np.integer) and wanted == np.int32:
        info = np.iinfo(np.int32)
        return np.clip(array, info.min, info.max).astype(np.int32)
    return array.astype(wanted)
