"""Convolutions: plain, depthwise, grouped, dilated, transposed; 1 to 3 spatial axes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgekit.graph.windows import Window, window
from edgekit.passes.recover.activation import Activation, Tensor
from edgekit.passes.recover.ops.registry import Operation, computes


@computes("Conv")
def convolution(op: Operation) -> Activation:
    """tf.nn.conv2d or conv3d; a 1-D signal is an image of one row."""
    source, weight = op.operand(), op.weight(1)
    shape, w, groups = source.shape, window(op.node), int(op.attribute("group"))
    rank = len(shape)
    # [O, I / groups, *kernel] -> [*kernel, I / groups, O]
    kernel = op.tf.transpose(weight, [*range(2, rank), 1, 0])
    x, padding = _padded(op.tf, source.channels_last, w, shape[2:])
    strides, dilations = w.strides, w.dilations
    if rank == 3:
        x, kernel, strides, dilations = x[:, None], kernel[None], (1, *strides), (1, *dilations)
    depthwise = groups > 1 and int(weight.shape[1]) == 1 and rank <= 4
    if depthwise:
        y = _depthwise(op.tf, x, kernel, strides, padding, dilations)
    else:
        y = _grouped(op.tf, x, kernel, groups, lambda a, k: _convolved(op.tf, a, k, strides, padding, dilations))
    y = y[:, 0] if rank == 3 else y
    return op.channels_last(y + op.weight(2) if op.given(2) else y)


def _padded(tf: Any, x: Tensor, w: Window, sizes: Sequence[int]) -> tuple[Tensor, str]:
    """The input and TensorFlow's name for what remains to pad."""
    if not any(w.pads):
        return x, "VALID"
    totals = [
        max((-(-size // stride) - 1) * stride + extent - size, 0)
        for size, stride, extent in zip(sizes, w.strides, w.extent, strict=True)
    ]
    same = [(total // 2, total - total // 2) for total in totals]
    given = list(zip(w.begin, w.end, strict=True))
    # The depthwise kernel wants equal strides: what follows it then needs the padding done.
    if same == given and max(w.dilations) == 1 and len(sizes) > 1 and len(set(w.strides)) == 1:
        return x, "SAME"
    return tf.pad(x, [(0, 0), *given, (0, 0)]), "VALID"


def _convolved(
    tf: Any, x: Tensor, kernel: Tensor, strides: Sequence[int], padding: str, dilations: Sequence[int]
) -> Tensor:
    if max(dilations) == 1:
        function = tf.nn.conv2d if len(strides) == 2 else tf.nn.conv3d
        return function(x, kernel, [1, *strides, 1], padding)
    # TensorFlow's gradient on the CPU knows no dilation; this goes through space_to_batch, which knows no stride.
    y = tf.nn.convolution(x, kernel, padding="VALID", dilations=list(dilations))
    return _strided(y, strides)


def _depthwise(
    tf: Any, x: Tensor, kernel: Tensor, strides: Sequence[int], padding: str, dilations: Sequence[int]
) -> Tensor:
    channels = int(x.shape[-1])
    # [kh, kw, 1, channels * multiplier] -> [kh, kw, channels, multiplier]: outputs of a channel stand together in both.
    kernel = tf.reshape(kernel, [*kernel.shape[:2], channels, int(kernel.shape[-1]) // channels])
    if max(dilations) > 1:
        return _strided(tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "VALID", dilations=list(dilations)), strides)
    if strides[0] == strides[1]:
        return tf.nn.depthwise_conv2d(x, kernel, [1, *strides, 1], padding)
    return _strided(tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "VALID"), strides)


def _strided(y: Tensor, strides: Sequence[int]) -> Tensor:
    if max(strides) == 1:
        return y
    return y[(slice(None), *(slice(None, None, stride) for stride in strides), slice(None))]


def _grouped(tf: Any, x: Tensor, kernel: Tensor, groups: int, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """``function`` of each group, whose channels are last; the CPU has no gradient for grouped convolutions."""
    if groups == 1:
        return function(x, kernel)
    parts = zip(tf.split(x, groups, axis=-1), tf.split(kernel, groups, axis=-1), strict=True)
    return tf.concat([function(part, weights) for part, weights in parts], axis=-1)


@computes("ConvTranspose")
def transposed_convolution(op: Operation) -> Activation:
    """tf.nn.conv2d_transpose or conv3d_transpose over the whole output, then cropped."""
    tf, source = op.tf, op.operand()
    shape, w, groups = source.shape, window(op.node), int(op.attribute("group"))
    rank, result = len(shape), op.shape()
    # [I, O / groups, *kernel] -> [*kernel, O / groups, I]
    kernel = _dilated(tf, tf.transpose(op.weight(1), [*range(2, rank), 1, 0]), w.dilations)
    whole = [size + begin + end for size, begin, end in zip(result[2:], w.begin, w.end, strict=True)]
    x, strides = source.channels_last, w.strides
    if rank == 3:
        x, kernel, strides, whole = x[:, None], kernel[None], (1, *strides), [1, *whole]
    function = tf.nn.conv2d_transpose if len(strides) == 2 else tf.nn.conv3d_transpose
    size = [tf.shape(x)[0], *whole, result[1] // groups]
    y = _grouped(tf, x, kernel, groups, lambda a, k: function(a, k, size, [1, *strides, 1], "VALID"))
    y = y[:, 0] if rank == 3 else y
    y = y[(slice(None), *(slice(b, b + n) for b, n in zip(w.begin, result[2:], strict=True)), slice(None))]
    y.set_shape([None, *result[2:], result[1]])
    return op.channels_last(y + op.weight(2) if op.given(2) else y)


def _dilated(tf: Any, kernel: Tensor, dilations: Sequence[int]) -> Tensor:
    """The kernel with zeros between its taps."""
    for axis, dilation in enumerate(dilations):
        taps = int(kernel.shape[axis])
        if dilation > 1 and taps > 1:
            spread = np.zeros(((taps - 1) * dilation + 1, taps), np.float32)
            spread[np.arange(taps) * dilation, np.arange(taps)] = 1
            moved = tf.tensordot(spread, kernel, [[1], [axis]])
            order = [*range(1, axis + 1), 0, *range(axis + 1, len(kernel.shape))]
            kernel = tf.transpose(moved, order)
    return kernel
