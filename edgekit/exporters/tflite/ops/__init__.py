"""One function per ONNX operator, by family; importing this package fills the table."""

from edgekit.exporters.tflite.ops import (
    activation,
    arithmetic,
    convolution,
    gather,
    matmul,
    normalization,
    pooling,
    recurrent,
    reduction,
    resize,
    shape,
    slicing,
    transposed_convolution,
    unary,
)
from edgekit.exporters.tflite.ops.registry import RULES, Rule

__all__ = [
    "RULES",
    "Rule",
    "activation",
    "arithmetic",
    "convolution",
    "gather",
    "matmul",
    "normalization",
    "pooling",
    "recurrent",
    "reduction",
    "resize",
    "shape",
    "slicing",
    "transposed_convolution",
    "unary",
]
