"""Reductions, arg-extrema, top-k and running sums."""

from collections.abc import Callable, Sequence
from typing import Any

from edgekit.passes.recover.activation import Activation, Tensor
from edgekit.passes.recover.ops.registry import Operation, computes

Reduction = Callable[[Any, Tensor, list[int], bool], Tensor]

_FUNCTIONS: dict[str, Reduction] = {
    "ReduceMean": lambda tf, x, axes, keep: tf.reduce_mean(x, axes, keepdims=keep),
    "ReduceSum": lambda tf, x, axes, keep: tf.reduce_sum(x, axes, keepdims=keep),
    "ReduceMax": lambda tf, x, axes, keep: tf.reduce_max(x, axes, keepdims=keep),
    "ReduceMin": lambda tf, x, axes, keep: tf.reduce_min(x, axes, keepdims=keep),
    "ReduceProd": lambda tf, x, axes, keep: tf.reduce_prod(x, axes, keepdims=keep),
    "ReduceL1": lambda tf, x, axes, keep: tf.reduce_sum(tf.abs(x), axes, keepdims=keep),
    "ReduceL2": lambda tf, x, axes, keep: tf.sqrt(tf.reduce_sum(x * x, axes, keepdims=keep)),
    "ReduceSumSquare": lambda tf, x, axes, keep: tf.reduce_sum(x * x, axes, keepdims=keep),
    "ReduceLogSum": lambda tf, x, axes, keep: tf.math.log(tf.reduce_sum(x, axes, keepdims=keep)),
    "ReduceLogSumExp": lambda tf, x, axes, keep: tf.reduce_logsumexp(x, axes, keepdims=keep),
}


@computes(*_FUNCTIONS)
def reduction(op: Operation) -> Activation:
    """Over the axes of each sample; over the spatial ones in the layout that is there."""
    function, source = _FUNCTIONS[op.node.op_type], op.operand()
    axes, keep = op.axes(1), bool(op.attribute("keepdims"))
    if not axes:
        return source
    rank = len(source.shape)
    if source.is_last and min(axes) >= 2 and (keep or len(axes) == rank - 2):
        tensor = function(op.tf, source.channels_last, [axis - 1 for axis in axes], keep)
        return op.channels_last(tensor) if keep else op.reshaped(tensor)
    return op.plain(function(op.tf, source.plain, [axis + 1 for axis in axes], keep))


@computes("ArgMax", "ArgMin")
def arg_extremum(op: Operation) -> Activation:
    """The index of the first extremum."""
    if op.attribute("select_last_index"):
        raise op.unsupported("select_last_index=1; expected 0")
    function = op.tf.argmax if op.node.op_type == "ArgMax" else op.tf.argmin
    return op.reshaped(function(op.operand().plain, axis=op.axis(op.attribute("axis")) + 1))


@computes("TopK")
def top_k(op: Operation) -> Sequence[Activation]:
    """The largest or smallest along an axis, in order."""
    tf, source = op.tf, op.operand()
    count, axis = op.constant(1), op.axis(op.attribute("axis")) + 1
    assert count is not None
    sign = 1 if op.attribute("largest") else -1
    order = [a for a in range(len(source.shape) + 1) if a != axis] + [axis]
    values, indices = tf.math.top_k(sign * tf.transpose(source.plain, order), int(count.item()))
    back = [order.index(a) for a in range(len(order))]
    return op.plain(sign * tf.transpose(values, back)), op.plain(
        tf.cast(tf.transpose(indices, back), tf.int64), min(1, len(op.node.outputs) - 1)
    )


@computes("CumSum")
def cumulative_sum(op: Operation) -> Activation:
    """Along one axis."""
    axis = op.constant(1)
    assert axis is not None
    options = {name: bool(op.attribute(name)) for name in ("exclusive", "reverse")}
    return op.plain(op.tf.cumsum(op.operand().plain, op.axis(int(axis.item())) + 1, **options))
