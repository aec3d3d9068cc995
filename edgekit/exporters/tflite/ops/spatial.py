"""Windows over the spatial axes: attributes, padding, and the 4-D channels-last form that the kernels want."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.exporters.tflite import layout
from edgekit.exporters.tflite.layout import Shape
from edgekit.exporters.tflite.lowering import Lowering
from edgekit.exporters.tflite.model import Tensor, constant


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window; each field has one entry for each spatial axis. ``before`` and ``after`` are the paddings."""

    size: Shape
    output: Shape
    kernel: Shape
    strides: Shape
    dilations: Shape
    before: Shape
    after: Shape

    def extent(self, axis: int) -> int:
        """How many input positions the dilated kernel spans."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1

    def needed(self, axis: int) -> int:
        """The padding behind that the last window really reads; negative when input is left over."""
        return (self.output[axis] - 1) * self.strides[axis] + self.extent(axis) - self.size[axis] - self.before[axis]

    def is_valid(self) -> bool:
        """Whether padding VALID places the windows so."""
        return all(b == 0 and self.needed(i) <= 0 for i, b in enumerate(self.before))

    def is_same(self) -> bool:
        """Whether padding SAME places the windows so (ComputePaddingHeightWidth in tflite/kernels/padding.h)."""
        for axis, size in enumerate(self.size):
            output = -(-size // self.strides[axis])
            total = max((output - 1) * self.strides[axis] + self.extent(axis) - size, 0)
            if self.output[axis] != output or self.before[axis] != total // 2:
                return False
        return True

    def with_unit_axis(self) -> "Window":
        """The same window over an image of height 1."""
        fields = {name: (1, *getattr(self, name)) for name in ("size", "output", "kernel", "strides", "dilations")}
        return replace(self, **fields, before=(0, *self.before), after=(0, *self.after))


def window(lowering: Lowering, node: ir.Node, kernel: Sequence[int]) -> Window:
    """The window of a convolution or pool; ``auto_pad`` is resolved. Raises UnsupportedError for negative paddings."""
    attributes = node.attributes
    size = lowering.shape(node.inputs[0])[2:]
    output = lowering.shape(node.outputs[0])[2:]
    ones = [1] * len(size)
    strides = tuple(attributes.get_ints("strides", ones))
    dilations = tuple(attributes.get_ints("dilations", ones))
    pads = list(attributes.get_ints("pads", [0] * (2 * len(size))))
    made = Window(size, output, tuple(kernel), strides, dilations, tuple(pads[: len(size)]), tuple(pads[len(size) :]))
    auto_pad = attributes.get_string("auto_pad", "NOTSET")
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        made = _automatic(made, auto_pad == "SAME_LOWER")
    if min((*made.before, *made.after), default=0) < 0:
        raise UnsupportedError("negative pads; crop with Slice instead")
    return made


def _automatic(made: Window, lower: bool) -> Window:
    totals = [
        max((out - 1) * stride + made.extent(axis) - size, 0)
        for axis, (size, out, stride) in enumerate(zip(made.size, made.output, made.strides, strict=True))
    ]
    small, large = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
    return replace(made, before=large, after=small) if lower else replace(made, before=small, after=large)


def image(lowering: Lowering, value: ir.Value | None) -> Tensor:
    """``value`` channels last with two spatial axes: a sequence (N, C, W) becomes an image of height 1."""
    rank = lowering.rank(value)
    tensor = lowering.tensor(value, layout.channels_last(rank))
    if rank == 3:
        batch, width, channels = tensor.shape
        return lowering.reshape(tensor, (batch, 1, width, channels))
    return tensor


def image_shape(lowering: Lowering, value: ir.Value) -> Shape:
    """The shape of ``value`` as ``image`` gives it."""
    shape = layout.permuted(lowering.shape(value), layout.channels_last(lowering.rank(value)))
    return (shape[0], 1, *shape[1:]) if len(shape) == 3 else shape


def padded(lowering: Lowering, tensor: Tensor, made: Window, fill: float | None = None) -> Tensor:
    """``tensor`` (channels last) with the padding of ``made`` written out: zeros by PAD, another ``fill`` by PADV2."""
    spatial = [(before, max(made.needed(axis), 0)) for axis, before in enumerate(made.before)]
    paddings = np.array([(0, 0), *spatial, (0, 0)], np.int32)
    if not paddings.any():
        return tensor
    shape = [size + int(pad.sum()) for size, pad in zip(tensor.shape, paddings, strict=True)]
    if fill is None:
        return lowering.emit("PAD", [tensor, constant("paddings", paddings)], shape)
    value = constant("pad_value", fill, tensor.dtype)
    value.quantization = tensor.quantization
    return lowering.emit("PADV2", [tensor, constant("paddings", paddings), value], shape)
