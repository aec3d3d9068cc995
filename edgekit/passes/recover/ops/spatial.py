"""Padding, and blocks of space as channels."""

import numpy as np

from edgekit.passes.recover.activation import Activation, Tensor
from edgekit.passes.recover.ops.registry import Operation, computes

_MODES = {"constant": "CONSTANT", "reflect": "REFLECT"}


@computes("Pad")
def pad(op: Operation) -> Activation:
    """Constant, reflected, edge or wrapped; negative amounts crop."""
    source, pads = op.operand(), op.constant(1)
    rank, mode = len(source.shape), op.attribute("mode")
    value, axes = (op.constant(index) if op.given(index) else None for index in (2, 3))
    assert pads is not None
    chosen = range(rank) if axes is None else [op.axis(int(axis)) for axis in axes]
    amounts = [(0, 0)] * rank
    for place, axis in enumerate(chosen):
        amounts[axis] = (int(pads[place]), int(pads[len(chosen) + place]))
    kept = [
        slice(max(-begin, 0), size - max(-end, 0)) for (begin, end), size in zip(amounts, source.shape, strict=True)
    ]
    x = source.plain[(slice(None), *kept)] if min(pads.tolist(), default=0) < 0 else source.plain
    positive = [(max(begin, 0), max(end, 0)) for begin, end in amounts]
    if mode not in _MODES:
        return op.plain(_gathered(op, x, positive, mode))
    filling = {} if value is None or mode != "constant" else {"constant_values": value.item()}
    return op.plain(op.tf.pad(x, [(0, 0), *positive], _MODES[mode], **filling))


def _gathered(op: Operation, x: Tensor, amounts: list[tuple[int, int]], mode: str) -> Tensor:
    for axis, (begin, end) in enumerate(amounts, start=1):
        if begin or end:
            size = int(x.shape[axis])
            positions = np.arange(-begin, size + end)
            x = op.tf.gather(x, positions % size if mode == "wrap" else positions.clip(0, size - 1), axis=axis)
    return x


@computes("DepthToSpace")
def depth_to_space(op: Operation) -> Activation:
    """Channels become pixels: DCR takes the block from the slowest channels, CRD from the fastest."""
    source, block = op.operand(), int(op.attribute("blocksize"))
    _, channels, height, width = source.shape
    depth = channels // block**2
    if op.attribute("mode") == "DCR":
        blocks, order = [block, block, depth, height, width], [0, 3, 4, 1, 5, 2]
    else:
        blocks, order = [depth, block, block, height, width], [0, 1, 4, 2, 5, 3]
    x = op.tf.reshape(source.plain, [-1, *blocks])
    return op.reshaped(op.tf.transpose(x, order))


@computes("SpaceToDepth")
def space_to_depth(op: Operation) -> Activation:
    """Pixels of a block become channels, the block's place slowest."""
    source, block = op.operand(), int(op.attribute("blocksize"))
    _, channels, height, width = source.shape
    x = op.tf.reshape(source.plain, [-1, channels, height // block, block, width // block, block])
    return op.reshaped(op.tf.transpose(x, [0, 3, 5, 1, 2, 4]))
