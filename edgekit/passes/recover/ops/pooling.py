"""Windows that slide: maximum and mean; and over the whole map."""

from edgekit.graph.windows import Window, window
from edgekit.passes.recover.activation import Activation, Shape, Tensor
from edgekit.passes.recover.ops.registry import Operation, computes


@computes("MaxPool")
def max_pool(op: Operation) -> Activation:
    """Padding is never the maximum."""
    if len(op.node.outputs) > 1 and op.node.outputs[1].name and op.node.outputs[1].uses():
        raise op.unsupported("gives indices; expected the values alone")
    w = _window(op)
    x = op.tf.pad(op.operand().channels_last, _pads(op, w), constant_values=op.operand().channels_last.dtype.min)
    return op.channels_last(_pooled(op, x, w, "MAX"))


@computes("AveragePool")
def average_pool(op: Operation) -> Activation:
    """The mean, of what is inside the input, or of the padding too (``count_include_pad``)."""
    source, w, tf = op.operand(), _window(op), op.tf
    x = tf.pad(source.channels_last, _pads(op, w))
    y = _pooled(op, x, w, "AVG")
    if op.attribute("count_include_pad"):
        inside = tf.pad(tf.ones([1, *_padded_sizes(source.shape, w), 1]), _beyond(op, w))
    else:
        inside = tf.pad(tf.ones([1, *source.shape[2:], 1]), _pads(op, w))
    return op.channels_last(y / _pooled(op, inside, w, "AVG"))


def _window(op: Operation) -> Window:
    w = window(op.node)
    if max(w.dilations) > 1:
        raise op.unsupported(f"dilations {list(w.dilations)}; expected 1")
    return w


def _padded_sizes(shape: Shape, w: Window) -> list[int]:
    return [size + begin + end for size, begin, end in zip(shape[2:], w.begin, w.end, strict=True)]


def _rests(op: Operation, w: Window) -> list[int]:
    """What ``ceil_mode`` reads beyond the padding."""
    sizes = _padded_sizes(op.operand().shape, w)
    needed = [
        (out - 1) * stride + extent for out, stride, extent in zip(op.shape()[2:], w.strides, w.extent, strict=True)
    ]
    return [max(need - size, 0) for need, size in zip(needed, sizes, strict=True)]


def _beyond(op: Operation, w: Window) -> list[tuple[int, int]]:
    return [(0, 0), *((0, rest) for rest in _rests(op, w)), (0, 0)]


def _pads(op: Operation, w: Window) -> list[tuple[int, int]]:
    rests = _rests(op, w)
    inner = [(begin, end + rest) for begin, end, rest in zip(w.begin, w.end, rests, strict=True)]
    return [(0, 0), *inner, (0, 0)]


def _pooled(op: Operation, x: Tensor, w: Window, kind: str) -> Tensor:
    return op.tf.nn.pool(x, w.kernel, kind, strides=w.strides, padding="VALID")


@computes("GlobalAveragePool", "GlobalMaxPool")
def global_pool(op: Operation) -> Activation:
    """Over all spatial axes, which stay with one element."""
    x = op.operand().channels_last
    function = op.tf.reduce_mean if op.node.op_type == "GlobalAveragePool" else op.tf.reduce_max
    return op.channels_last(function(x, list(range(1, len(x.shape) - 1)), keepdims=True))
