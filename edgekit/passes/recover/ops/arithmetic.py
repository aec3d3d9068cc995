"""Functions of several values whose shapes broadcast."""

from collections.abc import Callable
from functools import reduce
from typing import Any

from edgekit.passes.recover.activation import Activation, Shape, Tensor
from edgekit.passes.recover.ops.registry import Operation, computes

_MOST_BROADCAST = 4
"""From this rank on operands are repeated: TensorFlow does not broadcast every pattern of six axes."""

_FUNCTIONS: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "Add": lambda tf, a, b: a + b,
    "Sub": lambda tf, a, b: a - b,
    "Mul": lambda tf, a, b: a * b,
    "Div": lambda tf, a, b: a / b if a.dtype.is_floating else tf.math.floordiv(a, b),
    "Pow": lambda tf, a, b: tf.pow(a, tf.cast(b, a.dtype)),
    "Max": lambda tf, a, b: tf.maximum(a, b),
    "Min": lambda tf, a, b: tf.minimum(a, b),
    "Sum": lambda tf, a, b: a + b,
    "Equal": lambda tf, a, b: tf.equal(a, b),
    "Greater": lambda tf, a, b: a > b,
    "GreaterOrEqual": lambda tf, a, b: a >= b,
    "Less": lambda tf, a, b: a < b,
    "LessOrEqual": lambda tf, a, b: a <= b,
    "And": lambda tf, a, b: tf.logical_and(a, b),
    "Or": lambda tf, a, b: tf.logical_or(a, b),
    "Xor": lambda tf, a, b: tf.math.logical_xor(a, b),
    "PRelu": lambda tf, a, b: tf.nn.relu(a) + b * tf.minimum(a, 0.0),
}


@computes(*_FUNCTIONS)
def arithmetic(op: Operation) -> Activation:
    """A function of two, or one applied again and again (Max, Min, Sum)."""
    function = _FUNCTIONS[op.node.op_type]
    return _broadcast(op, lambda *tensors: reduce(lambda a, b: function(op.tf, a, b), tensors))


@computes("Mean")
def mean(op: Operation) -> Activation:
    """Of all inputs."""
    return _broadcast(op, lambda *tensors: reduce(lambda a, b: a + b, tensors) / len(tensors))


@computes("Where")
def where(op: Operation) -> Activation:
    """The second where the first is true, else the third."""
    return _broadcast(op, lambda *tensors: op.tf.where(*tensors))


def _broadcast(op: Operation, function: Callable[..., Tensor]) -> Activation:
    result = op.shape()
    operands = [op.operand(index) for index in range(len(op.inputs))]
    pairs = [(value, (1,) * (len(result) - len(value.shape)) + value.shape) for value in operands]
    if any(value.is_last for value in operands) and all(_fits(value, shape, result) for value, shape in pairs):
        return op.channels_last(function(*(_channels_last(op.tf, value, shape) for value, shape in pairs)))
    return op.plain(function(*(_plain(op.tf, value, shape, result) for value, shape in pairs)))


def _plain(tf: Any, value: Activation, aligned: Shape, result: Shape) -> Tensor:
    tensor = value.plain if len(value.shape) == len(result) else tf.reshape(value.plain, [-1, *aligned])
    if len(result) < _MOST_BROADCAST or aligned == result:
        return tensor
    for axis, (size, wanted) in enumerate(zip(aligned, result, strict=True), start=1):
        tensor = tensor if size == wanted else tf.repeat(tensor, wanted, axis=axis)
    return tensor


def _fits(value: Activation, aligned: Shape, result: Shape) -> bool:
    """There the samples and the batch are one axis, along which a batched value is as long as the result."""
    if value.batched:
        return len(value.shape) == len(result) and value.shape[0] == result[0]
    return aligned[0] == 1


def _channels_last(tf: Any, value: Activation, aligned: Shape) -> Tensor:
    if len(value.shape) == len(aligned):
        return value.channels_last
    return Activation(tf, aligned, plain=tf.reshape(value.plain, [-1, *aligned])).channels_last
