"""Half and double precision models as float32, the one float type that every target runs."""

from collections.abc import Iterator

import numpy as np
import onnx
import onnx_ir as ir

from edgekit.importers.skeleton import Skeleton, subgraphs

_OTHER_FLOATS = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
_DTYPE_ATTRIBUTES = {"to", "dtype", "output_datatype", "stash_type", "output_dtype", "softmax_precision"}


def to_float32(skeleton: Skeleton) -> Skeleton:
    """``skeleton`` with every float16, bfloat16 and float64 type, constant and cast made float32. Names stay."""
    proto = skeleton.proto
    if not _uses_other_floats(skeleton):
        return skeleton
    for graph in subgraphs(proto.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            _convert_type(value)
        for tensor in graph.initializer:
            _convert_tensor(tensor)
        for node in graph.node:
            for attribute in node.attribute:
                _convert_attribute(attribute)
    return Skeleton(proto, {name: _convert_weight(weight) for name, weight in skeleton.weights.items()})


def _uses_other_floats(skeleton: Skeleton) -> bool:
    return any(dtype in _OTHER_FLOATS for dtype in _dtypes(skeleton))


def _dtypes(skeleton: Skeleton) -> Iterator[int]:
    for weight in skeleton.weights.values():
        yield weight.dtype.value
    for graph in subgraphs(skeleton.proto.graph):
        for value in (*graph.input, *graph.output):
            yield value.type.tensor_type.elem_type
        for tensor in graph.initializer:
            yield tensor.data_type
        for node in graph.node:
            for attribute in node.attribute:
                yield attribute.t.data_type
                if attribute.name in _DTYPE_ATTRIBUTES:
                    yield attribute.i


def _convert_type(value: onnx.ValueInfoProto) -> None:
    if value.type.WhichOneof("value") == "tensor_type" and value.type.tensor_type.elem_type in _OTHER_FLOATS:
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def _convert_attribute(attribute: onnx.AttributeProto) -> None:
    if attribute.type == onnx.AttributeProto.TENSOR:
        _convert_tensor(attribute.t)
    elif attribute.name in _DTYPE_ATTRIBUTES and attribute.i in _OTHER_FLOATS:
        attribute.i = onnx.TensorProto.FLOAT


def _convert_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in _OTHER_FLOATS:
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(_narrow(onnx.numpy_helper.to_array(tensor)), name))


def _convert_weight(weight: ir.TensorProtocol) -> ir.TensorProtocol:
    if weight.dtype.value not in _OTHER_FLOATS:
        return weight
    return ir.Tensor(_narrow(weight.numpy()), name=weight.name)


def _narrow(array: np.ndarray) -> np.ndarray:
    """As float32; finite doubles beyond its range (-1e308 as a mask) become its largest values, not infinities."""
    if array.dtype != np.float64:
        return np.asarray(array.astype(np.float32))
    largest = np.finfo(np.float32).max
    clipped = np.where(np.isfinite(array), np.clip(array, -largest, largest), array)
    return np.asarray(clipped.astype(np.float32))
