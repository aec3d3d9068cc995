"""Small float formulas out of elementwise operators on tensors that already share a layout."""

import numpy as np

from edgekit.exporters.tflite.lowering import Lowering
from edgekit.exporters.tflite.model import Options, Tensor


def scalar(number: float, like: Tensor) -> Tensor:
    """A constant of ``like``'s type that broadcasts against anything."""
    array = np.asarray(number, like.dtype)
    return Tensor("scalar", (), array.dtype, data=array)


def unary(lowering: Lowering, builtin: str, x: Tensor) -> Tensor:
    """One elementwise operator of one operand."""
    return lowering.emit(builtin, [x], x.shape)


def binary(lowering: Lowering, builtin: str, x: Tensor, y: Tensor | float, activation: str = "NONE") -> Tensor:
    """ADD, SUB, MUL, DIV, MAXIMUM, MINIMUM, POW of two tensors, or of a tensor and a number."""
    other = y if isinstance(y, Tensor) else scalar(y, x)
    shape = np.broadcast_shapes(x.shape, other.shape)
    options: Options = {} if activation == "NONE" else {"fused_activation_function": activation}
    return lowering.emit(builtin, [x, other], shape, **options)


def reduce(lowering: Lowering, builtin: str, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """A reduction over physical ``axes`` that keeps them as ones."""
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    indices = np.array(axes, np.int32)
    return lowering.emit(
        builtin, [x, Tensor("axes", indices.shape, indices.dtype, data=indices)], shape, keep_dims=True
    )
