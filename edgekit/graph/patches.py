"""Read, at fixed output positions, the numbers that each output of a Conv, Gemm or MatMul is computed from."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.queries import attribute, shape_of
from edgekit.graph.windows import window

_GOLDEN_RATIO = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class PatchSampler:
    """``taps`` [rows, kernel] index the flattened positions; ``inside`` is False where a tap reads padding.

    ``positions`` [rows]: those of the outputs that the rows give, flattened. ``channels_last``: the value is
    [..., channels] (a matrix product's), not [batch, channels, *spatial]; of a batch of images the first is read.
    """

    groups: int
    positions: NDArray[np.intp]
    taps: NDArray[np.intp]
    inside: NDArray[np.bool_] | None
    channels_last: bool = False

    def rows(self, value: NDArray[np.float32]) -> NDArray[np.float32]:
        """[groups, rows, channels per group * kernel]: im2col at the sampled positions; padding reads 0."""
        flat = value.reshape(-1, value.shape[-1]).T if self.channels_last else value[0].reshape(value.shape[1], -1)
        gathered = flat[:, self.taps]
        if self.inside is not None:
            gathered *= self.inside
        grouped = gathered.reshape(self.groups, -1, *self.taps.shape).transpose(0, 2, 1, 3)
        return grouped.reshape(self.groups, self.taps.shape[0], -1)


def sampler_of(node: ir.Node, rows: int) -> PatchSampler:
    """The sampler of a Conv's, Gemm's or MatMul's first input with at most ``rows`` positions."""
    source, target = node.inputs[0], node.outputs[0]
    assert source is not None
    if node.op_type == "Conv":
        return _conv_sampler(node, shape_of(source)[2:], shape_of(target)[2:], rows)
    positions = _spread(int(np.prod(shape_of(source)[:-1])), rows)
    return PatchSampler(1, positions, positions[:, None], None, channels_last=True)


def _conv_sampler(node: ir.Node, sizes: tuple[int, ...], outputs: tuple[int, ...], rows: int) -> PatchSampler:
    w = window(node)
    positions = _spread(int(np.prod(outputs)), rows)
    starts = np.unravel_index(positions, outputs)
    offsets = np.unravel_index(np.arange(int(np.prod(w.kernel))), w.kernel)
    taps = np.zeros((len(starts[0]), len(offsets[0])), np.intp)
    inside = np.ones(taps.shape, np.bool_)
    for d, size in enumerate(sizes):
        position = starts[d][:, None] * w.strides[d] - w.begin[d] + offsets[d][None, :] * w.dilations[d]
        inside &= (position >= 0) & (position < size)
        taps = taps * size + np.clip(position, 0, size - 1)
    return PatchSampler(int(attribute(node, "group")), positions, taps, None if inside.all() else inside)


def _spread(count: int, rows: int) -> NDArray[np.intp]:
    """``rows`` of ``count`` positions, spread evenly without following an image's rows; the same on every call."""
    if rows >= count:
        return np.arange(count, dtype=np.intp)
    return np.unique((np.arange(rows) * _GOLDEN_RATIO % 1.0 * count).astype(np.intp))
