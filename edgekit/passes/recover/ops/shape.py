"""Other shapes for the same numbers, and other orders of the axes."""

import numpy as np

from edgekit.passes.recover.activation import Activation
from edgekit.passes.recover.ops.registry import Operation, computes

_TO_CHANNELS_LAST, _TO_CHANNELS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


@computes("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(op: Operation) -> Activation:
    """To the static shape of the output; its batch is that of one sample."""
    source = op.operand()
    if source.is_last and _is_vector(source.shape) and op.shape()[:1] == source.shape[:1]:
        return op.reshaped(source.channels_last)
    return op.reshaped(source.plain)


def _is_vector(shape: tuple[int, ...]) -> bool:
    """Whether the spatial axes have one element each: then both layouts have the numbers in the same order."""
    return all(size == 1 for size in shape[2:])


@computes("Transpose")
def transpose(op: Operation) -> Activation:
    """Between ONNX's image layout and channels last nothing moves."""
    source = op.operand()
    order = op.attribute("perm") or list(reversed(range(len(source.shape))))
    if order == _TO_CHANNELS_LAST and source.is_last:
        return op.reshaped(source.channels_last)
    if order == _TO_CHANNELS_FIRST:
        return op.channels_last(op.tf.reshape(source.plain, [-1, *source.shape[1:]]))
    return op.plain(op.tf.transpose(source.plain, [0, *(axis + 1 for axis in order)]))


@computes("Expand")
def expand(op: Operation) -> Activation:
    """By broadcasting."""
    source, shape = op.operand(), op.shape()
    aligned = op.tf.reshape(source.plain, [-1, *(1,) * (len(shape) - len(source.shape)), *source.shape])
    ones = np.ones(shape, np.bool_)
    return op.plain(
        op.tf.where(ones[None], aligned, aligned)
        if aligned.dtype == op.tf.bool
        else aligned * op.tf.cast(ones[None], aligned.dtype)
    )


@computes("Tile")
def tile(op: Operation) -> Activation:
    """Repeats along each axis."""
    repeats = op.constant(1)
    assert repeats is not None
    return op.plain(op.tf.tile(op.operand().plain, [1, *repeats.tolist()]))


@computes("Shape")
def shape(op: Operation) -> Activation:
    """A constant."""
    sizes = op.operand().shape[op.attribute("start") or 0 : op.attribute("end")]
    constant = op.tf.constant([sizes], op.tf.int64)
    return Activation(op.tf, op.shape(), plain=op.tf.reshape(constant, [1, len(sizes)]), batched=False)
