"""From the file in memory to its bytes.

The object API of the flatbuffers schema does the packing, except for buffers: Python's generated code ignores the
schema's ``force_align: 16``, which the runtime needs to map weights in place.
"""

from typing import Any

import numpy as np

from edgekit.errors import ModelError
from edgekit.exporters.tflite.model import FlatModel, Operator, Tensor
from edgekit.exporters.tflite.operators import load_schema
from edgekit.exporters.tflite.versions import minimum_runtime, operator_version

_OPTION_TABLES = {
    "ADD": "AddOptions",
    "ARG_MAX": "ArgMaxOptions",
    "ARG_MIN": "ArgMinOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CAST": "CastOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "CONV_3D": "Conv3DOptions",
    "CUMSUM": "CumsumOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "DIV": "DivOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions",
    "GELU": "GeluOptions",
    "L2_NORMALIZATION": "L2NormOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "LOCAL_RESPONSE_NORMALIZATION": "LocalResponseNormalizationOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MIRROR_PAD": "MirrorPadOptions",
    "MUL": "MulOptions",
    "ONE_HOT": "OneHotOptions",
    "PACK": "PackOptions",
    "REDUCE_ALL": "ReducerOptions",
    "REDUCE_ANY": "ReducerOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "REDUCE_PROD": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SPACE_TO_DEPTH": "SpaceToDepthOptions",
    "SPLIT": "SplitOptions",
    "SPLIT_V": "SplitVOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTMOptions",
    "UNPACK": "UnpackOptions",
}
_ENUMS = {
    "padding": "Padding",
    "fused_activation_function": "ActivationFunctionType",
    "mode": "MirrorPadMode",
    "output_type": "TensorType",
    "in_data_type": "TensorType",
    "out_data_type": "TensorType",
}
_TYPES = {"bool": "BOOL"}
_RUNTIME_VERSION_BYTES = 16
_MAX_BYTES = 2**31 - 2**20


def serialize(model: FlatModel) -> bytes:
    """The bytes of ``model``, always the same for the same model. Raises ModelError above flatbuffers' 2 GB."""
    return _Writer(model).finish()


def unique_names(model: FlatModel) -> None:
    """Make every tensor's name unique; inputs and outputs keep theirs."""
    keep = {tensor for _, tensor in (*model.inputs, *model.outputs)}
    taken = {tensor.name for tensor in keep}
    for tensor in model.tensors():
        if tensor in keep:
            continue
        base, count = tensor.name, 0
        while tensor.name in taken:
            count += 1
            tensor.name = f"{base}_{count}"
        taken.add(tensor.name)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


class _Writer:
    def __init__(self, model: FlatModel) -> None:
        self._schema = load_schema()
        self._model = model
        self._tensors = {tensor: index for index, tensor in enumerate(model.tensors())}
        self._buffers: list[bytes] = [b""]
        self._buffer_of: dict[bytes, int] = {}

    def finish(self) -> bytes:
        import flatbuffers  # type: ignore[import-untyped]

        packed = self._pack()
        size = sum(len(buffer) + 64 for buffer in self._buffers) + 256 * len(self._tensors) + 65536
        if size > _MAX_BYTES:
            raise ModelError(
                f"the model needs {size} bytes but a .tflite file holds at most 2 GB; use a smaller precision"
            )
        builder = flatbuffers.Builder(size)
        builder.Finish(packed.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _pack(self) -> Any:
        schema, model = self._schema, self._model
        graph = schema.SubGraphT()
        graph.name = "main"
        graph.tensors = [self._tensor(tensor) for tensor in self._tensors]
        graph.inputs = self._indices([tensor for _, tensor in model.inputs])
        graph.outputs = self._indices([tensor for _, tensor in model.outputs])
        codes: dict[tuple[str, int], int] = {}
        graph.operators = [self._operator(operator, codes) for operator in model.operators]
        file = schema.ModelT()
        file.version = 3
        file.description = "edgekit"
        file.subgraphs = [graph]
        file.operatorCodes = [self._operator_code(builtin, version) for builtin, version in codes]
        file.signatureDefs = [self._signature()]
        file.metadata = [self._metadata(list(codes))]
        file.buffers = [_aligned_buffer(schema, data) for data in self._buffers]
        return file

    def _indices(self, tensors: list[Tensor]) -> Any:
        return np.array([self._tensors[tensor] for tensor in tensors], np.int32)

    def _buffer(self, data: bytes) -> int:
        if data not in self._buffer_of:
            self._buffer_of[data] = len(self._buffers)
            self._buffers.append(data)
        return self._buffer_of[data]

    def _type(self, dtype: "np.dtype[Any]") -> int:
        return int(getattr(self._schema.TensorType, _TYPES.get(dtype.name, dtype.name.upper())))

    def _tensor(self, tensor: Tensor) -> Any:
        result = self._schema.TensorT()
        result.name = tensor.name
        result.shape = np.array(tensor.shape, np.int32)
        result.hasRank = True
        result.type = self._type(tensor.dtype)
        result.buffer = 0 if tensor.data is None else self._buffer(np.ascontiguousarray(tensor.data).tobytes())
        if tensor.quantization is not None:
            result.quantization = self._schema.QuantizationParametersT()
            result.quantization.scale = np.array(tensor.quantization.scale, np.float32)
            result.quantization.zeroPoint = np.array(tensor.quantization.zero_point, np.int64)
            result.quantization.quantizedDimension = tensor.quantization.axis or 0
        return result

    def _operator(self, operator: Operator, codes: dict[tuple[str, int], int]) -> Any:
        result = self._schema.OperatorT()
        code = (operator.builtin, operator_version(operator))
        result.opcodeIndex = codes.setdefault(code, len(codes))
        result.inputs = np.array([-1 if t is None else self._tensors[t] for t in operator.inputs], np.int32)
        result.outputs = self._indices(operator.outputs)
        table = _OPTION_TABLES.get(operator.builtin)
        if table is not None:
            result.builtinOptionsType = getattr(self._schema.BuiltinOptions, table)
            result.builtinOptions = getattr(self._schema, f"{table}T")()
            for key, value in operator.options.items():
                setattr(result.builtinOptions, _camel(key), self._option(key, value))
        return result

    def _option(self, key: str, value: Any) -> Any:
        return getattr(getattr(self._schema, _ENUMS[key]), value) if key in _ENUMS else value

    def _operator_code(self, builtin: str, version: int) -> Any:
        """Codes above 126 stand in the new field only; the old one then holds its placeholder value (schema.fbs)."""
        result = self._schema.OperatorCodeT()
        result.builtinCode = getattr(self._schema.BuiltinOperator, builtin)
        result.deprecatedBuiltinCode = min(result.builtinCode, 127)
        result.version = version
        return result

    def _signature(self) -> Any:
        result = self._schema.SignatureDefT()
        result.signatureKey = "serving_default"
        result.inputs = [self._tensor_map(name, tensor) for name, tensor in self._model.inputs]
        result.outputs = [self._tensor_map(name, tensor) for name, tensor in self._model.outputs]
        return result

    def _tensor_map(self, name: str, tensor: Tensor) -> Any:
        result = self._schema.TensorMapT()
        result.name, result.tensorIndex = name, self._tensors[tensor]
        return result

    def _metadata(self, codes: list[tuple[str, int]]) -> Any:
        result = self._schema.MetadataT()
        result.name = "min_runtime_version"
        result.buffer = self._buffer(minimum_runtime(codes).encode().ljust(_RUNTIME_VERSION_BYTES, b"\0"))
        return result


def _aligned_buffer(schema: Any, data: bytes) -> Any:
    class AlignedBuffer(schema.BufferT):  # type: ignore[misc]
        """A buffer whose bytes start at a multiple of 16."""

        def Pack(self, builder: Any) -> Any:  # noqa: N802
            if not data:
                return super().Pack(builder)
            builder.StartVector(1, len(data), 16)
            start = builder.head - len(data)
            builder.head = start
            builder.Bytes[start : start + len(data)] = data
            vector = builder.EndVector()
            schema.BufferStart(builder)
            schema.BufferAddData(builder, vector)
            return schema.BufferEnd(builder)

    return AlignedBuffer()
