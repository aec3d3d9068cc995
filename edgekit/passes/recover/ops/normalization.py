"""Softmax and the normalizations."""

from edgekit.passes.recover.activation import Activation, Tensor
from edgekit.passes.recover.ops.registry import Operation, computes


@computes("Softmax", "LogSoftmax")
def softmax(op: Operation) -> Activation:
    """Along one axis, as rows of a matrix: TensorFlow's kernel takes five axes at most."""
    tf, axis = op.tf, op.axis(op.attribute("axis")) + 1
    function = tf.nn.softmax if op.node.op_type == "Softmax" else tf.nn.log_softmax
    x = op.operand().plain
    order = [a for a in range(len(x.shape)) if a != axis] + [axis]
    last = axis == len(order) - 1
    moved = x if last else tf.transpose(x, order)
    rows = function(tf.reshape(moved, [-1, x.shape[axis]]))
    y = tf.reshape(rows, [-1, *moved.shape[1:]])
    return op.plain(y if last else tf.transpose(y, [order.index(a) for a in range(len(order))]))


@computes("BatchNormalization")
def batch_norm(op: Operation) -> Activation:
    """By the constants of the graph, per channel."""
    scale, shift, mean, variance = (op.weight(index) for index in range(1, 5))
    factor = scale / op.tf.sqrt(variance + op.attribute("epsilon"))
    source = op.operand()
    if len(source.shape) < 3:
        return op.plain(source.plain * factor + (shift - mean * factor))
    return op.channels_last(source.channels_last * factor + (shift - mean * factor))


def _normalized(op: Operation, x: Tensor, axes: list[int]) -> Tensor:
    mean = op.tf.reduce_mean(x, axes, keepdims=True)
    centred = x - mean
    variance = op.tf.reduce_mean(centred * centred, axes, keepdims=True)
    return centred * op.tf.math.rsqrt(variance + op.attribute("epsilon"))


@computes("LayerNormalization")
def layer_norm(op: Operation) -> Activation:
    """Over the last axes, from ``axis`` on."""
    if len([output for output in op.node.outputs if output.uses()]) > 1:
        raise op.unsupported("gives its mean or deviation; expected the normalized value alone")
    source = op.operand()
    rank = len(source.shape)
    y = _normalized(op, source.plain, list(range(op.axis(op.attribute("axis")) + 1, rank + 1))) * op.weight(1)
    return op.plain(y + op.weight(2) if op.given(2) else y)


@computes("InstanceNormalization")
def instance_norm(op: Operation) -> Activation:
    """Over the spatial axes of each channel."""
    x = op.operand().channels_last
    return op.channels_last(_normalized(op, x, list(range(1, len(x.shape) - 1))) * op.weight(1) + op.weight(2))


@computes("GroupNormalization")
def group_norm(op: Operation) -> Activation:
    """Over the spatial axes and the channels of each group."""
    source, groups = op.operand(), int(op.attribute("num_groups"))
    batch, channels, *spatial = source.shape
    x = op.tf.reshape(source.plain, [-1, batch, groups, channels // groups, *spatial])
    y = op.tf.reshape(_normalized(op, x, list(range(3, len(x.shape)))), [-1, *source.shape])
    scale, shift = (op.tf.reshape(op.weight(index), [channels, *(1,) * len(spatial)]) for index in (1, 2))
    return op.plain(y * scale + shift)


@computes("LpNormalization")
def lp_norm(op: Operation) -> Activation:
    """Divided by the norm along one axis."""
    x, axis = op.operand().plain, op.axis(op.attribute("axis")) + 1
    if op.attribute("p") == 1:
        return op.plain(x / op.tf.reduce_sum(op.tf.abs(x), axis, keepdims=True))
    return op.plain(x / op.tf.sqrt(op.tf.reduce_sum(x * x, axis, keepdims=True)))
