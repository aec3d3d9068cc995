"""Operators that only say anew how the same elements are laid out."""

import numpy as np
import onnx_ir as ir

from edgekit.graph.queries import attribute, constant_value
from edgekit.passes.prune.groups.regrouping import regroup
from edgekit.passes.prune.groups.rules.registry import rule
from edgekit.passes.prune.groups.tracking import Block, Tracker, described, dims


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(tracker: Tracker, node: ir.Node) -> None:
    """A channel owns all elements that it is spread over."""
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    tracker.set(output, regroup(tracker, tracker.of(source), dims(source), dims(output), name=node.name or ""))


@rule("Transpose")
def transpose(tracker: Tracker, node: ir.Node) -> None:
    """Axes move, their labels with them."""
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    rank = len(dims(source))
    order = attribute(node, "perm") or list(range(rank))[::-1]
    tracker.set(output, (block.moved([order.index(axis) for axis in block.axes]) for block in tracker.of(source)))


@rule("Expand")
def expand(tracker: Tracker, node: ir.Node) -> None:
    """Channels keep their length, other axes are repeated."""
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    offset = len(dims(output)) - len(dims(source))
    tracker.set(output, (block.moved([axis + offset for axis in block.axes]) for block in tracker.of(source)))


@rule("Tile")
def tile(tracker: Tracker, node: ir.Node) -> None:
    """[C] repeated on its own axis: each channel is there several times."""
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    repeats = constant_value(node.inputs[1])
    if repeats is None:
        tracker.pin(tracker.of(source), f"{described(node)} repeats it a computed number of times")
        return
    tracker.set(output, (_tiled(block, [int(repeats[axis]) for axis in block.axes]) for block in tracker.of(source)))


def _tiled(block: Block, repeats: list[int]) -> Block:
    return Block(block.axes, np.tile(block.labels, repeats), np.tile(block.zero, repeats))


@rule("DepthToSpace")
def depth_to_space(tracker: Tracker, node: ir.Node) -> None:
    """The r x r channels that become one pixel's neighbourhood go together (PixelShuffle)."""
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    blocks = tracker.keeping(tracker.of(source), (2, 3), f"{described(node)} spreads channels over it")
    entering = tracker.alone(blocks, 1)
    others = [block for block in blocks if 1 not in block.axes]
    area, made = attribute(node, "blocksize") ** 2, dims(output)[1]
    if entering is None:
        tracker.set(output, others)
        return
    mode = attribute(node, "mode")
    split = (area, made) if mode == "DCR" else (made, area)
    axis = 0 if mode == "DCR" else 1
    labels, zero = entering.labels.reshape(split), entering.zero.reshape(split)
    first = labels.take([0], axis=axis)
    tracker.atoms.unify(labels, first)
    if made == 1:
        tracker.atoms.pin(entering.labels, f"{described(node)} makes a single channel of it")
        tracker.set(output, others)
        return
    tracker.set(output, [Block((1,), first.reshape(-1), np.asarray(zero.all(axis=axis))), *others])


@rule("SpaceToDepth")
def space_to_depth(tracker: Tracker, node: ir.Node) -> None:
    """Each channel becomes r x r channels, block by block."""
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    blocks = tracker.keeping(tracker.of(source), (2, 3), f"{described(node)} takes it apart")
    area = attribute(node, "blocksize") ** 2
    entering = tracker.alone(blocks, 1)
    others = [block for block in blocks if 1 not in block.axes]
    tracker.set(output, [None if entering is None else _tiled(entering, [area]), *others])
