"""The sliding window of a convolution or a pooling, with every ONNX default and ``auto_pad`` resolved to numbers."""

from dataclasses import dataclass

import onnx_ir as ir

from edgekit.graph.queries import attribute, shape_of

CONVOLUTIONS = ("Conv", "ConvTranspose")
POOLS = ("MaxPool", "AveragePool", "LpPool")


@dataclass(frozen=True, slots=True)
class Window:
    """One number per spatial axis in each tuple; ``begin`` and ``end`` pad (ConvTranspose: crop) before and after."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]

    @property
    def pads(self) -> list[int]:
        """ONNX's order: all begins, then all ends."""
        return [*self.begin, *self.end]

    @property
    def extent(self) -> tuple[int, ...]:
        """How many input elements one window spans, dilation included."""
        return tuple((kernel - 1) * dilation + 1 for kernel, dilation in zip(self.kernel, self.dilations, strict=True))


def window(node: ir.Node) -> Window:
    """The window of a Conv, ConvTranspose or pooling node whose input has a static shape.

    Raises ``ModelError`` when the shape is not static. ``auto_pad``, ``output_shape`` and ``ceil_mode``'s rounding of
    the output size are as the ONNX operator specification (opset 21) words them.
    """
    assert node.inputs[0] is not None
    spatial = shape_of(node.inputs[0])[2:]
    if node.op_type in CONVOLUTIONS:
        assert node.inputs[1] is not None
        kernel = shape_of(node.inputs[1])[2:]
    else:
        kernel = tuple(attribute(node, "kernel_shape"))
    ones = [1] * len(spatial)
    strides = tuple(attribute(node, "strides") or ones)
    dilations = tuple(attribute(node, "dilations") or ones)
    unpadded = Window(kernel, strides, dilations, (0,) * len(spatial), (0,) * len(spatial))
    begin, end = _padding(node, unpadded, spatial)
    return Window(kernel, strides, dilations, begin, end)


def _padding(node: ir.Node, unpadded: Window, spatial: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    auto_pad = attribute(node, "auto_pad")
    if node.op_type == "ConvTranspose" and (
        attribute(node, "output_shape") or auto_pad in ("SAME_UPPER", "SAME_LOWER")
    ):
        total = _transposed_total(node, unpadded, spatial)
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        total = [
            max((-(-size // stride) - 1) * stride + extent - size, 0)
            for size, stride, extent in zip(spatial, unpadded.strides, unpadded.extent, strict=True)
        ]
    elif auto_pad == "VALID":
        total = [0] * len(spatial)
    else:
        pads = attribute(node, "pads") or [0] * 2 * len(spatial)
        return tuple(pads[: len(spatial)]), tuple(pads[len(spatial) :])
    smaller = tuple(amount // 2 for amount in total)
    larger = tuple(amount - amount // 2 for amount in total)
    # SAME_UPPER puts the odd element at the end; SAME_LOWER, and ConvTranspose's output_shape alone, at the beginning.
    return (smaller, larger) if auto_pad == "SAME_UPPER" else (larger, smaller)


def _transposed_total(node: ir.Node, unpadded: Window, spatial: tuple[int, ...]) -> list[int]:
    extra = attribute(node, "output_padding") or [0] * len(spatial)
    wanted = attribute(node, "output_shape")
    wanted = wanted[-len(spatial) :] if wanted else [a * b for a, b in zip(spatial, unpadded.strides, strict=True)]
    full = [
        stride * (size - 1) + more + extent
        for stride, size, more, extent in zip(unpadded.strides, spatial, extra, unpadded.extent, strict=True)
    ]
    return [max(have - want, 0) for have, want in zip(full, wanted, strict=True)]
