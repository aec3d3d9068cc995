"""The version that each operator must carry, and the oldest runtime that knows it.

Source: tflite/tools/versioning/op_version.cc and runtime_version.cc of LiteRT. A runtime refuses a version above the
highest it registers, so the lowest version that describes the operator is the right one.
"""

from collections.abc import Callable

import numpy as np

from edgekit.exporters.tflite.model import Operator, Tensor

_INT8_IS_2 = frozenset(
    [
        "MAX_POOL_2D",
        "AVERAGE_POOL_2D",
        "TRANSPOSE",
        "SLICE",
        "UNPACK",
        "L2_NORMALIZATION",
        "RELU",
        "STRIDED_SLICE",
        "RESIZE_BILINEAR",
        "MUL",
        "TANH",
        "RESIZE_NEAREST_NEIGHBOR",
        "MAXIMUM",
        "MINIMUM",
        "PACK",
        "ADD",
        "SUB",
        "LOGISTIC",
        "EQUAL",
        "NOT_EQUAL",
        "PAD",
        "PADV2",
        "CONCATENATION",
        "SOFTMAX",
        "MEAN",
        "MIRROR_PAD",
        "REDUCE_MAX",
        "REDUCE_MIN",
        "RELU6",
        "RSQRT",
        "ARG_MAX",
        "ARG_MIN",
        "SELECT",
        "LESS",
        "GREATER_EQUAL",
        "SPACE_TO_DEPTH",
        "SPLIT_V",
        "SUM",
        "LOG_SOFTMAX",
        "GREATER",
        "LESS_EQUAL",
        "SQUARED_DIFFERENCE",
        "DEPTH_TO_SPACE",
        "TOPK_V2",
        "EXP",
        "LOG",
        "REDUCE_PROD",
        "GELU",
        "ABS",
        "GATHER",
        "SPACE_TO_BATCH_ND",
        "BATCH_TO_SPACE_ND",
        "BATCH_MATMUL",
        "DEQUANTIZE",
    ]
)
_BOOL_IS_3 = frozenset(["TRANSPOSE", "STRIDED_SLICE", "GATHER", "UNPACK", "ARG_MAX", "ARG_MIN"])


def operator_version(operator: Operator) -> int:
    """The version of ``operator``: from its types, ranks and options."""
    rule = _RULES.get(operator.builtin)
    return max(rule(operator) if rule else 1, _by_type(operator))


def _first(operator: Operator) -> Tensor:
    index = 1 if operator.builtin in ("SPLIT", "TRANSPOSE_CONV") else 0
    tensor = operator.inputs[index]
    assert tensor is not None
    return tensor


def _rank(operator: Operator) -> int:
    return max(len(t.shape) for t in operator.inputs if t is not None)


def _by_type(operator: Operator) -> int:
    dtype = _first(operator).dtype
    if dtype == np.int8 and operator.builtin in _INT8_IS_2:
        return 2
    if dtype == np.bool_ and operator.builtin in _BOOL_IS_3:
        return 3
    return 1


def _hybrid(operator: Operator) -> bool:
    weights = operator.inputs[1]
    return weights is not None and weights.dtype == np.int8 and _first(operator).dtype == np.float32


def _per_axis(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.quantization is not None and tensor.quantization.axis is not None


def _convolution(operator: Operator) -> int:
    source, weights = _first(operator), operator.inputs[1]
    assert weights is not None
    if operator.builtin == "CONV_2D" and weights.shape[-1] != source.shape[-1]:
        return 6
    if _hybrid(operator):
        per_tensor, per_axis = (2, 5) if operator.builtin == "CONV_2D" else (4, 6)
        return per_axis if _per_axis(weights) else per_tensor
    if source.dtype == np.int8:
        return 3
    dilated = operator.options.get("dilation_h_factor", 1) > 1 or operator.options.get("dilation_w_factor", 1) > 1
    return 2 if operator.builtin == "DEPTHWISE_CONV_2D" and dilated else 1


def _fully_connected(operator: Operator) -> int:
    if _hybrid(operator) and _per_axis(operator.inputs[1]):
        return 12
    if len(operator.inputs) == 2 or operator.inputs[2] is None:
        return 6
    if operator.options.get("keep_num_dims"):
        return 5
    if _first(operator).dtype == np.int8:
        return 4
    if _hybrid(operator):
        return 9 if operator.options.get("asymmetric_quantize_inputs") else 3
    return 1


def _transpose_convolution(operator: Operator) -> int:
    if operator.options.get("fused_activation_function", "NONE") != "NONE":
        return 4
    if len(operator.inputs) == 4:
        return 3
    return 2 if _first(operator).dtype == np.int8 else 1


def _multiply(operator: Operator) -> int:
    left, right = operator.inputs[0], operator.inputs[1]
    assert left is not None and right is not None
    if left.dtype == np.int64:
        return 5
    scales = [t.quantization.scale[0] for t in (left, right, operator.outputs[0]) if t.quantization]
    return 3 if len(scales) == 3 and scales[0] * scales[1] / scales[2] >= 1 else 1


def _broadcasting(version: int) -> Callable[[Operator], int]:
    def rule(operator: Operator) -> int:
        shapes = {t.shape for t in operator.inputs if t is not None}
        return version if len(shapes) > 1 and _rank(operator) > 4 else 1

    return rule


def _cast(operator: Operator) -> int:
    types = {_first(operator).dtype.type, operator.outputs[0].dtype.type}
    ordered = ((5, {np.float64, np.float16}), (4, {np.uint16}), (3, {np.int8}), (2, {np.uint32}))
    return next((version for version, wanted in ordered if types & wanted), 1)


def _dequantize(operator: Operator) -> int:
    if _first(operator).dtype in (np.float16, np.int16):
        return 3
    return 5 if _per_axis(_first(operator)) else 1


def _split(operator: Operator) -> int:
    return {"int8": 2, "int32": 3}.get(_first(operator).dtype.name, 1)


def _transpose(operator: Operator) -> int:
    rank = len(_first(operator).shape)
    return 6 if rank > 5 else 4 if rank > 4 else 1


def _resize(operator: Operator) -> int:
    options = operator.options
    exact = options.get("half_pixel_centers")
    if operator.builtin == "RESIZE_NEAREST_NEIGHBOR":
        exact = exact or options.get("align_corners")
    return 3 if exact else 1


def _reverse(operator: Operator) -> int:
    return {"int8": 3, "bool": 2}.get(_first(operator).dtype.name, 1)


_RULES: dict[str, Callable[[Operator], int]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _fully_connected,
    "TRANSPOSE_CONV": _transpose_convolution,
    "MUL": _multiply,
    "ADD": lambda op: 4 if _first(op).dtype == np.int64 else 1,
    "SUB": _broadcasting(3),
    "DIV": _broadcasting(2),
    "MAXIMUM": _broadcasting(3),
    "MINIMUM": _broadcasting(3),
    "CAST": _cast,
    "DEQUANTIZE": _dequantize,
    "SPLIT": _split,
    "TRANSPOSE": _transpose,
    "SLICE": lambda op: 5 if len(_first(op).shape) > 4 else 1,
    "STRIDED_SLICE": lambda op: 4 if len(_first(op).shape) > 4 else 1,
    "PAD": lambda op: 4 if len(_first(op).shape) > 4 else 1,
    "PADV2": lambda op: 4 if len(_first(op).shape) > 4 else 1,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "REVERSE_V2": _reverse,
    "SPACE_TO_BATCH_ND": lambda op: 3 if len(_first(op).shape) != 4 else 1,
    "BATCH_TO_SPACE_ND": lambda op: 3 if len(_first(op).shape) != 4 else 1,
    "TILE": lambda op: 3 if _first(op).dtype == np.int8 else 1,
    "GATHER": lambda op: 5 if op.options.get("batch_dims") else 1,
    "GATHER_ND": lambda op: 5 if _first(op).dtype == np.bool_ else 1,
    "BROADCAST_TO": lambda op: 3 if _first(op).dtype == np.int8 else 2,
    "ABS": lambda op: 5 if _first(op).dtype == np.int32 else 1,
    "SIGN": lambda op: 2 if _first(op).dtype == np.int32 else 1,
    "SELECT": lambda op: 3 if _rank(op) == 5 else 1,
    "FLOOR_DIV": lambda op: 2 if _first(op).dtype == np.float32 else 1,
}

_RUNTIME: dict[str, dict[int, str]] = {
    "AVERAGE_POOL_2D": {1: "1.5.0", 2: "1.14.0"},
    "MAX_POOL_2D": {1: "1.5.0", 2: "1.14.0"},
    "CONV_2D": {1: "1.5.0", 2: "1.14.0", 3: "1.14.0", 5: "2.4.0", 6: "2.9.0"},
    "DEPTHWISE_CONV_2D": {1: "1.5.0", 2: "1.12.0", 3: "1.14.0", 4: "2.2.0", 6: "2.3.0"},
    "FULLY_CONNECTED": {1: "1.5.0", 3: "1.14.0", 4: "1.14.0", 5: "2.0.0", 6: "2.1.0", 9: "2.3.0", 12: "2.17.0"},
    "TRANSPOSE_CONV": {1: "1.9.0", 2: "2.2.0", 3: "2.3.0", 4: "2.15.0"},
    "BATCH_MATMUL": {1: "2.3.0", 2: "2.3.0"},
    "CONV_3D": {1: "2.5.0"},
    "ADD": {1: "1.5.0", 2: "1.14.0", 4: "2.6.0"},
    "SUB": {1: "1.6.0", 2: "1.14.0", 3: "2.3.0", 4: "2.4.0"},
    "MUL": {1: "1.5.0", 2: "1.14.0", 3: "1.15.0", 5: "2.6.0"},
    "DIV": {1: "1.6.0", 2: "2.3.0"},
    "MAXIMUM": {1: "1.14.0", 3: "2.3.0"},
    "MINIMUM": {1: "1.14.0", 3: "2.3.0"},
    "MEAN": {1: "1.6.0", 2: "1.14.0"},
    "SUM": {1: "1.10.0", 2: "1.15.0"},
    "REDUCE_PROD": {1: "1.11.0", 2: "2.6.0"},
    "REDUCE_ALL": {1: "2.6.0"},
    "PAD": {1: "1.5.0", 2: "1.14.0", 4: "2.6.0"},
    "PADV2": {1: "1.9.0", 2: "1.14.0", 4: "2.6.0"},
    "MIRROR_PAD": {1: "1.13.1", 2: "2.3.0"},
    "TRANSPOSE": {1: "1.6.0", 2: "1.14.0", 3: "1.15.0", 4: "2.3.0", 6: "2.12.0"},
    "SLICE": {1: "1.14.0", 5: "2.5.0"},
    "STRIDED_SLICE": {1: "1.6.0", 2: "1.14.0", 3: "2.1.0", 4: "2.2.0"},
    "SPLIT": {1: "1.5.0", 2: "1.14.0", 3: "1.14.0"},
    "SPLIT_V": {1: "1.13.1", 2: "2.3.0"},
    "CONCATENATION": {1: "1.5.0", 2: "1.14.0"},
    "GATHER": {1: "1.6.0", 2: "1.14.0", 3: "1.15.0", 5: "2.5.0"},
    "GATHER_ND": {1: "1.14.0", 5: "2.14.0"},
    "SCATTER_ND": {1: "2.1.0"},
    "TILE": {1: "1.10.1", 3: "2.8.0"},
    "BROADCAST_TO": {2: "2.5.0", 3: "2.5.0"},
    "CAST": {1: "1.5.0", 2: "2.7.0", 3: "2.8.0", 4: "2.9.0", 5: "2.12.0"},
    "DEQUANTIZE": {1: "1.13.1", 2: "1.14.0", 3: "1.15.0", 5: "2.7.0"},
    "QUANTIZE": {1: "1.14.0"},
    "RESIZE_BILINEAR": {1: "1.7.0", 2: "1.14.0", 3: "2.2.0"},
    "RESIZE_NEAREST_NEIGHBOR": {1: "1.13.1", 2: "1.14.0", 3: "2.3.0"},
    "DEPTH_TO_SPACE": {1: "2.1.0", 2: "2.5.0"},
    "SPACE_TO_DEPTH": {1: "1.5.0", 2: "1.14.0"},
    "RELU": {1: "1.5.0", 2: "2.1.0"},
    "RELU_0_TO_1": {1: "2.10.0"},
    "LEAKY_RELU": {1: "1.13.1"},
    "PRELU": {1: "1.8.0"},
    "GELU": {1: "2.9.0", 2: "2.9.0"},
    "HARD_SWISH": {1: "1.15.0"},
    "ABS": {1: "1.13.0", 2: "2.4.0", 5: "2.12.0"},
    "RSQRT": {1: "1.10.0", 2: "2.5.0"},
    "SQUARED_DIFFERENCE": {1: "1.13.1", 2: "2.5.0"},
    "REVERSE_V2": {1: "1.14.0", 2: "2.2.0", 3: "2.5.0"},
    "CUMSUM": {1: "2.4.0"},
    "SELECT_V2": {1: "2.2.0"},
    "SIGN": {1: "2.12.0", 2: "2.12.0"},
    "UNPACK": {1: "1.11.0", 2: "1.14.0", 3: "2.2.0"},
    "EQUAL": {1: "1.14.0", 2: "1.14.0"},
    "EXP": {1: "1.7.0", 2: "2.12.0"},
    "LOG": {1: "1.14.0", 2: "2.12.0"},
}
_OLDEST = "1.14.0"
"""What the operators not listed above need: all of them are in TensorFlow Lite 1.14."""


def minimum_runtime(versions: list[tuple[str, int]]) -> str:
    """The oldest TensorFlow Lite release that runs every (operator, version) of a file."""
    needed = [_RUNTIME.get(builtin, {}).get(version, _OLDEST) for builtin, version in versions]
    return max((*needed, "1.5.0"), key=lambda text: tuple(int(part) for part in text.split(".")))
