"""MaxPool and AveragePool: MAX_POOL_2D and AVERAGE_POOL_2D."""

import math

import numpy as np
import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.exporters.tflite import layout
from edgekit.exporters.tflite.lowering import Lowering, Result
from edgekit.exporters.tflite.model import Array, Quantization, Tensor, constant
from edgekit.exporters.tflite.ops.convolution import window_options
from edgekit.exporters.tflite.ops.registry import Wants, always, lowers
from edgekit.exporters.tflite.ops.spatial import Window, image, image_shape, padded, window

_MOST_WEIGHTS = 65536
"""Bytes of weights that an int8 average may cost."""

_LOWEST = float(np.finfo(np.float32).min)
_NOT_NEGATIVE = frozenset({"Relu", "Sigmoid", "HardSigmoid", "Softmax", "Abs", "Softplus", "Exp"})


def _window(lowering: Lowering, node: ir.Node) -> Window:
    kernel = node.attributes.get_ints("kernel_shape", None)
    rank = lowering.rank(node.inputs[0])
    if kernel is None or rank not in (3, 4):
        raise UnsupportedError(f"a pool over an input of rank {rank} has no TFLite operator; 3 or 4 expected")
    made = window(lowering, node, kernel)
    return made.with_unit_axis() if rank == 3 else made


def _pool(lowering: Lowering, node: ir.Node, builtin: str, source: Tensor, made: Window) -> None:
    options = {
        "padding": "SAME" if made.is_same() and not made.is_valid() else "VALID",
        "stride_h": made.strides[0],
        "stride_w": made.strides[1],
        "filter_height": made.kernel[0],
        "filter_width": made.kernel[1],
    }
    label = layout.channels_last(lowering.rank(node.outputs[0]))
    through = image_shape(lowering, node.outputs[0])
    result = Result(node.outputs[0], label, source.quantization, through)
    lowering.finish(builtin, [source], result, **options)


def _filled(made: Window) -> Window:
    """The window once its padding is part of the input."""
    size = tuple(s + b + max(made.needed(i), 0) for i, (s, b) in enumerate(zip(made.size, made.before, strict=True)))
    none = (0,) * len(size)
    return Window(size, made.output, made.kernel, made.strides, made.dilations, none, none)


def _is_not_negative(value: ir.Value | None) -> bool:
    node = value.producer() if value is not None else None
    while node is not None and node.op_type in (
        "QuantizeLinear",
        "DequantizeLinear",
        "MaxPool",
        "Transpose",
        "Reshape",
    ):
        value = node.inputs[0]
        node = value.producer() if value is not None else None
    if node is None:
        return False
    if node.op_type == "Clip" and len(node.inputs) > 1 and node.inputs[1] is not None:
        low = node.inputs[1].const_value
        return low is not None and float(np.ravel(low.numpy())[0]) >= 0
    return node.op_type in _NOT_NEGATIVE


@lowers("MaxPool", int8=always, fuses=True, wants=Wants.CHANNELS_LAST)
def max_pool(lowering: Lowering, node: ir.Node) -> None:
    """MAX_POOL_2D; paddings other than SAME are written out: zeros where nothing is negative, else the lowest."""
    if len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output()):
        raise UnsupportedError("the indices of a MaxPool have no TFLite operator")
    made = _window(lowering, node)
    if any(d != 1 for d in made.dilations):
        raise UnsupportedError("a dilated MaxPool has no TFLite operator")
    source = image(lowering, node.inputs[0])
    if not made.is_same() and not made.is_valid():
        lowest = -128 if lowering.int8 else _LOWEST
        zero_is_lowest = not lowering.int8 and _is_not_negative(node.inputs[0])
        if source.quantization is not None and source.quantization.zero_point[0] == -128:
            zero_is_lowest = True
        source, made = padded(lowering, source, made, None if zero_is_lowest else lowest), _filled(made)
    _pool(lowering, node, "MAX_POOL_2D", source, made)


def _int8_average(lowering: Lowering, node: ir.Node) -> bool:
    if lowering.rank(node.inputs[0]) not in (3, 4):
        return False
    made = _window(lowering, node)
    return _correction(node, made) is None and all(d == 1 for d in made.dilations)


@lowers("AveragePool", int8=_int8_average, fuses=True, wants=Wants.CHANNELS_LAST)
def average_pool(lowering: Lowering, node: ir.Node) -> None:
    """AVERAGE_POOL_2D, whose SAME padding is not counted.

    A window over the whole image becomes MEAN, an int8 pool that counts all it covers a DEPTHWISE_CONV_2D. Counted
    padding is written out as zeros first. Any other padding: pool over written zeros, then multiply by a constant that
    is kernel area / number of counted elements at each position.
    """
    made = _window(lowering, node)
    if any(d != 1 for d in made.dilations):
        raise UnsupportedError("a dilated AveragePool has no TFLite operator")
    source = image(lowering, node.inputs[0])
    correction = _correction(node, made)
    excludes = not node.attributes.get_int("count_include_pad", 0)
    if made.is_valid() and made.kernel == made.size:
        _whole(lowering, node, source)
        return
    if (
        lowering.int8
        and (made.is_valid() or not excludes)
        and math.prod(made.kernel) * source.shape[-1] <= _MOST_WEIGHTS
    ):
        _int8_mean(lowering, node, source, made)
        return
    if made.is_valid() or (excludes and made.is_same()):
        _pool(lowering, node, "AVERAGE_POOL_2D", source, made)
        return
    source, made = padded(lowering, source, made), _filled(made)
    if correction is None:
        _pool(lowering, node, "AVERAGE_POOL_2D", source, made)
        return
    _corrected(lowering, node, source, made, correction)


def _whole(lowering: Lowering, node: ir.Node, source: Tensor) -> None:
    """A pool over the whole image is MEAN, which XNNPACK also runs in int8."""
    label = layout.channels_last(lowering.rank(node.outputs[0]))
    result = Result(node.outputs[0], label, source.quantization, image_shape(lowering, node.outputs[0]))
    lowering.finish("MEAN", [source, constant("axes", (1, 2))], result, keep_dims=True)


def _int8_mean(lowering: Lowering, node: ir.Node, source: Tensor, made: Window) -> None:
    """DEPTHWISE_CONV_2D with equal weights: XNNPACK has no int8 AVERAGE_POOL_2D; the fallback is 5-10x slower."""
    options = {**window_options(made), "depth_multiplier": 1}
    if options["padding"] == "VALID":
        source = padded(lowering, source, made)
    assert source.quantization is not None
    channels = source.shape[-1]
    scale = 1 / math.prod(made.kernel) / 127
    data = np.full((1, *made.kernel, channels), 127, np.int8)
    weights = Tensor(f"{node.outputs[0].name}/weights", data.shape, data.dtype, Quantization((scale,), (0,)), data)
    bias_scale = Quantization((scale * source.quantization.scale[0],), (0,))
    zeros = np.zeros(channels, np.int32)
    bias = Tensor(f"{node.outputs[0].name}/bias", zeros.shape, zeros.dtype, bias_scale, zeros)
    label = layout.channels_last(lowering.rank(node.outputs[0]))
    result = Result(node.outputs[0], label, through=image_shape(lowering, node.outputs[0]))
    lowering.finish("DEPTHWISE_CONV_2D", [source, weights, bias], result, **options)


def _corrected(lowering: Lowering, node: ir.Node, source: Tensor, made: Window, correction: Array) -> None:
    shape = image_shape(lowering, node.outputs[0])
    pooled = lowering.emit(
        "AVERAGE_POOL_2D",
        [source],
        shape,
        padding="VALID",
        stride_h=made.strides[0],
        stride_w=made.strides[1],
        filter_height=made.kernel[0],
        filter_width=made.kernel[1],
    )
    mask = lowering.real(f"{node.outputs[0].name}/correction", correction)
    label = layout.channels_last(lowering.rank(node.outputs[0]))
    lowering.finish("MUL", [pooled, mask], Result(node.outputs[0], label, through=shape))


def _correction(node: ir.Node, made: Window) -> Array | None:
    """Kernel area / counted elements at each position (1, H, W, 1), or None when TFLite counts the same by itself."""
    includes = bool(node.attributes.get_int("count_include_pad", 0))
    if made.is_valid() or (not includes and made.is_same()):
        return None
    counts = [_counts(made, axis, includes) for axis in range(len(made.kernel))]
    area = np.multiply.outer(counts[0], counts[1]).astype(np.float64)
    mask = (math.prod(made.kernel) / area).astype(np.float32)
    return None if np.all(mask == 1) else mask[None, :, :, None]


def _counts(made: Window, axis: int, includes_padding: bool) -> Array:
    """Elements that count at each output position; what ceil_mode adds beyond the stated padding never does."""
    starts = np.arange(made.output[axis]) * made.strides[axis] - made.before[axis]
    low, high = 0, made.size[axis]
    if includes_padding:
        low, high = -made.before[axis], made.size[axis] + made.after[axis]
    return np.clip(starts + made.kernel[axis], low, high) - np.clip(starts, low, high)
