"""Operators that put channels side by side or take some of them."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgekit.graph.queries import attribute, constant_value, is_constant
from edgekit.passes.prune.groups.atoms import Labels
from edgekit.passes.prune.groups.combining import Operand, combine
from edgekit.passes.prune.groups.rules.elementwise import all_zero
from edgekit.passes.prune.groups.rules.registry import rule
from edgekit.passes.prune.groups.tracking import Block, Follows, Tracker, described, dims


@rule("Concat")
def concat(tracker: Tracker, node: ir.Node) -> None:
    """Along the axis channels stand side by side; along the others all inputs have the same."""
    values = [value for value in node.inputs if value is not None]
    output = node.outputs[0]
    shape = list(dims(output))
    axis = attribute(node, "axis") % len(shape)
    shape[axis] = 1
    # The other axes go together as in a sum of pieces that have length 1 along this one.
    operands = [_piece(tracker, value, axis) for value in values]
    others = combine(tracker, node, operands, shape, all_zero)
    along = [block for value in values for block in tracker.of(value) if axis in block.axes]
    if len(along) == len(values) and len({block.axes for block in along}) == 1:
        lines = along
    elif along:
        lines = [_line(tracker, node, value, axis) for value in values]
    else:
        tracker.set(output, others)
        return
    position = lines[0].axes.index(axis)
    labels = np.concatenate([block.labels for block in lines], axis=position)
    zero = np.concatenate([block.zero for block in lines], axis=position)
    tracker.set(output, [Block(lines[0].axes, labels, zero), *others])


def _line(tracker: Tracker, node: ir.Node, value: ir.Value, axis: int) -> Block:
    """The labels of one piece; a constant's channels may be removed like any others."""
    count = dims(value)[axis]
    block = tracker.alone(tracker.of(value), axis)
    if block is not None:
        return block
    if is_constant(value) and count > 1:
        block = Block((axis,), tracker.atoms.new(count), np.full(count, value.name not in tracker.unzeroed))
        tracker.constants[value][-1] += (Follows((axis,), block.labels),)
        return block
    return tracker.fixed(axis, count, f"{described(node)} puts it beside {tracker.origin(value)}")


def _piece(tracker: Tracker, value: ir.Value, axis: int) -> Operand:
    """An input without what lies along ``axis``."""
    shape = list(dims(value))
    shape[axis] = 1
    blocks = tuple(block for block in tracker.of(value) if axis not in block.axes)
    return Operand(value, tuple(shape), blocks, is_constant(value))


@rule("Split")
def split(tracker: Tracker, node: ir.Node) -> None:
    """Each output has its part of the channels."""
    source = node.inputs[0]
    assert source is not None
    axis = attribute(node, "axis") % len(dims(source))
    start = 0
    for output in node.outputs:
        stop = start + dims(output)[axis]
        parts = [_taken(tracker, node, block, axis, np.arange(start, stop)) for block in tracker.of(source)]
        tracker.set(output, parts)
        start = stop


@rule("Slice")
def slice_(tracker: Tracker, node: ir.Node) -> None:
    """As far as the channels of each kept index are known."""
    source = node.inputs[0]
    assert source is not None
    shape, blocks = dims(source), tracker.of(source)
    chosen = _sliced(node, shape)
    if chosen is None:
        tracker.pin(blocks, f"{described(node)} takes a computed part of it")
        tracker.set(node.outputs[0], [])
        return
    for axis, indices in chosen.items():
        blocks = tuple(b for b in (_taken(tracker, node, block, axis, indices) for block in blocks) if b is not None)
    tracker.set(node.outputs[0], blocks)


def _sliced(node: ir.Node, shape: Sequence[int]) -> dict[int, Labels] | None:
    """Indices by axis; None where they are computed."""
    given = [None if value is None else constant_value(value) for value in node.inputs[1:]]
    if any(array is None and value is not None for array, value in zip(given, node.inputs[1:], strict=True)):
        return None
    starts, ends, axes, steps = [*given, None, None][:4]
    assert starts is not None and ends is not None
    result = {}
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        axis = i if axes is None else int(axes[i]) % len(shape)
        step = 1 if steps is None else int(steps[i])
        # As in Python an end of -1 is one before the last; ONNX writes "down to the first" as an end below -size.
        stop = None if step < 0 and end < -shape[axis] else end
        result[axis] = np.arange(shape[axis])[slice(start, stop, step)]
    return result


def _taken(tracker: Tracker, node: ir.Node, block: Block, axis: int, indices: Labels) -> Block | None:
    """What is left of a block; a single index is never removed."""
    if axis not in block.axes:
        return block
    position = block.axes.index(axis)
    if len(indices) == 1:
        if len(block.axes) == 1:
            tracker.atoms.pin(block.labels[indices], f"{described(node)} takes this channel alone")
            return None
        return tracker.without(block, [axis], "")
    return Block(block.axes, block.labels.take(indices, position), block.zero.take(indices, position))


@rule("Gather")
def gather(tracker: Tracker, node: ir.Node) -> None:
    """Constant indices choose channels; of a constant table the rows are chosen and its columns are channels."""
    data, indices = node.inputs
    assert data is not None and indices is not None
    axis = attribute(node, "axis") % len(dims(data))
    rank = len(dims(indices))
    chosen = constant_value(indices)
    tracker.pin(tracker.of(indices), f"{described(node)} reads indices from it")
    if is_constant(data):
        _embed(tracker, node, data, axis, rank)
        return
    result: list[Block | None] = []
    for block in tracker.of(data):
        if axis in block.axes and (chosen is None or rank > 1):
            left = tracker.without(block, [axis], f"{described(node)} takes a computed part of its channels")
        elif axis in block.axes and chosen is not None:
            flat = chosen.reshape(-1).astype(np.intp) % dims(data)[axis]
            left = _taken(tracker, node, block, axis, flat)
        else:
            left = block
        result.append(None if left is None else left.moved([a + (rank - 1) * (a > axis) for a in left.axes]))
    tracker.set(node.outputs[0], result)


def _embed(tracker: Tracker, node: ir.Node, table: ir.Value, axis: int, rank: int) -> None:
    """[V, C] rows by index: C new channels."""
    if axis != 0 or len(dims(table)) != 2:
        return
    block = tracker.fresh(1, dims(table)[1])
    tracker.follow_axes(table, {1: block})
    tracker.produces(node, table, 1)
    tracker.set(node.outputs[0], [None if block is None else block.moved([rank])])
