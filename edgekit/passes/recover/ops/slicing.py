"""Parts of values, and values made of parts."""

from collections.abc import Sequence

import numpy as np

from edgekit.passes.recover.activation import Activation, Tensor
from edgekit.passes.recover.ops.registry import Operation, computes


@computes("Concat")
def concat(op: Operation) -> Activation:
    """Along one axis; constants are repeated for each sample."""
    operands = [op.operand(index) for index in range(len(op.inputs))]
    axis = op.axis(op.attribute("axis"))
    if all(value.is_last and value.batched for value in operands) and axis > 0:
        rank = len(operands[0].shape)
        return op.channels_last(
            op.tf.concat([value.channels_last for value in operands], rank - 1 if axis == 1 else axis - 1)
        )
    return op.plain(op.tf.concat(_repeated(op, operands), axis + 1))


def _repeated(op: Operation, operands: Sequence[Activation]) -> list[Tensor]:
    batched = [value for value in operands if value.batched]
    if not batched or len(batched) == len(operands):
        return [value.plain for value in operands]
    samples = op.tf.shape(batched[0].plain)[0]
    return [value.plain if value.batched else op.tf.repeat(value.plain, samples, axis=0) for value in operands]


@computes("Split")
def split(op: Operation) -> Sequence[Activation]:
    """Into the sizes of the outputs."""
    source, axis = op.operand(), op.axis(op.attribute("axis"))
    sizes = [op.shape(index)[axis] for index in range(len(op.node.outputs))]
    if source.is_last and axis == 1:
        parts = op.tf.split(source.channels_last, sizes, -1)
        return [op.channels_last(part, index) for index, part in enumerate(parts)]
    parts = op.tf.split(source.plain, sizes, axis + 1)
    return [op.plain(part, index) for index, part in enumerate(parts)]


@computes("Slice")
def take_slice(op: Operation) -> Activation:
    """Constant starts, ends and steps; negative steps too."""
    source = op.operand()
    starts, ends, axes, steps = (op.constant(index) if op.given(index) else None for index in (1, 2, 3, 4))
    assert starts is not None and ends is not None
    chosen = range(len(starts)) if axes is None else [op.axis(int(axis)) for axis in axes]
    strides = np.ones(len(starts), np.int64) if steps is None else steps
    index = [slice(None)] * len(source.shape)
    for axis, start, end, stride in zip(chosen, starts.tolist(), ends.tolist(), strides.tolist(), strict=True):
        positions = range(source.shape[axis])[slice(start, end, stride)]
        stop = positions.stop if positions.stop >= 0 else None
        index[axis] = slice(positions.start, stop, positions.step)
    return op.plain(source.plain[(slice(None), *index)])


@computes("Gather")
def gather(op: Operation) -> Activation:
    """Rows by constant indices, or rows of a constant by computed ones (an embedding)."""
    source, indices, axis = op.operand(0), op.operand(1), op.axis(op.attribute("axis"))
    tf, size = op.tf, op.operand(0).shape[op.axis(op.attribute("axis"))]
    if not indices.batched:
        chosen = tf.math.floormod(tf.cast(indices.plain[0], tf.int64), size)
        return op.plain(tf.gather(source.plain, chosen, axis=axis + 1))
    chosen = tf.math.floormod(tf.cast(indices.plain, tf.int64), size)
    if source.batched:
        return op.plain(tf.gather(source.plain, chosen, axis=axis + 1, batch_dims=1))
    if axis != 0:
        raise op.unsupported(f"axis {axis} of a constant by computed indices; expected axis 0")
    return op.plain(tf.gather(source.plain[0], chosen, axis=0))


@computes("GatherElements")
def gather_elements(op: Operation) -> Activation:
    """An element of each line along one axis."""
    tf, axis = op.tf, op.axis(op.attribute("axis")) + 1
    source, indices = _repeated(op, [op.operand(0), op.operand(1)])
    order = [a for a in range(len(source.shape)) if a != axis] + [axis]
    chosen = tf.math.floormod(tf.cast(tf.transpose(indices, order), tf.int64), int(source.shape[axis]))
    taken = tf.gather(tf.transpose(source, order), chosen, axis=len(order) - 1, batch_dims=len(order) - 1)
    return op.plain(tf.transpose(taken, [order.index(a) for a in range(len(order))]))
