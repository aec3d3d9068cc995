"""Reductions, and what else looks at a whole axis at once."""

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from edgekit.graph.queries import attribute, constant_value, input_of
from edgekit.passes.prune.groups.rules.registry import rule
from edgekit.passes.prune.groups.tracking import Block, Tracker, described, dims


@rule("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceLogSum", "ReduceLogSumExp")
def reduce(tracker: Tracker, node: ir.Node) -> None:
    """Over other axes each channel is reduced alone; over channels every one of them counts."""
    axes = _reduced(node)
    source = node.inputs[0]
    assert source is not None
    reason = f"{described(node)} reduces over its channels: removing one changes the result"
    blocks = tracker.keeping(tracker.of(source), axes, reason)
    zero = node.op_type in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")
    _set_reduced(tracker, node, (block.with_zero(block.zero & zero) for block in blocks), axes)


@rule("ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2")
def reduce_sum(tracker: Tracker, node: ir.Node) -> None:
    """A sum does not miss channels that are exactly zero."""
    axes = _reduced(node)
    source = node.inputs[0]
    assert source is not None
    blocks = []
    for block in tracker.of(source):
        if set(block.axes) & set(axes):
            reason = f"{described(node)} sums over it, and it is not exactly zero where it is removed"
            tracker.atoms.pin(block.labels[~block.zero], reason)
        if not set(block.axes) <= set(axes):
            blocks.append(block)
    _set_reduced(tracker, node, tracker.keeping(tuple(blocks), axes, ""), axes)


@rule("ArgMax", "ArgMin", "CumSum", "TopK", "Hardmax", "Softmax", "LogSoftmax", "LpNormalization")
def along_axis(tracker: Tracker, node: ir.Node) -> None:
    """Over other axes each channel is taken alone."""
    source = node.inputs[0]
    assert source is not None
    rank = len(dims(source))
    axis = constant_value(node.inputs[1]) if node.op_type == "CumSum" else attribute(node, "axis")
    axes = range(rank) if axis is None else [int(np.reshape(axis, -1)[0]) % rank]
    reason = f"{described(node)} computes over its channels: removing one changes the others"
    blocks = tuple(block.with_zero(False) for block in tracker.keeping(tracker.of(source), axes, reason))
    for output in node.outputs:
        dropped = axes if len(dims(output)) < rank else ()
        tracker.set(output, (_dropping(block, dropped) for block in blocks))


def _reduced(node: ir.Node) -> list[int]:
    """The axes, counted from the front; all where they are computed."""
    source = node.inputs[0]
    assert source is not None
    rank, given = len(dims(source)), input_of(node, 1)
    axes = None if given is None else constant_value(given)
    if axes is None or not axes.size:
        return [] if attribute(node, "noop_with_empty_axes") and given is None else list(range(rank))
    return sorted({int(axis) % rank for axis in axes.reshape(-1)})


def _set_reduced(tracker: Tracker, node: ir.Node, blocks: Iterable[Block], axes: list[int]) -> None:
    dropped = [] if attribute(node, "keepdims") else axes
    tracker.set(node.outputs[0], (_dropping(block, dropped) for block in blocks))


def _dropping(block: Block, dropped: Iterable[int]) -> Block:
    gone = set(dropped)
    return block.moved([axis - sum(a < axis for a in gone) for axis in block.axes])
