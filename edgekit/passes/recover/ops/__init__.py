"""ONNX operators in TensorFlow, one function per family; importing the package fills the table."""

from edgekit.passes.recover.ops import (
    arithmetic,
    convolution,
    matmul,
    normalization,
    pooling,
    reduction,
    resize,
    shape,
    slicing,
    spatial,
    unary,
)
from edgekit.passes.recover.ops.registry import OPS, Operation

__all__ = [
    "OPS",
    "Operation",
    "arithmetic",
    "convolution",
    "matmul",
    "normalization",
    "pooling",
    "reduction",
    "resize",
    "shape",
    "slicing",
    "spatial",
    "unary",
]
