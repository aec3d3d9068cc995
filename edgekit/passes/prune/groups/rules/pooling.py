"""Windows, resizing and padding: what happens to pixels, channel by channel."""

import numpy as np
import onnx_ir as ir

from edgekit.graph.queries import attribute, constant_value, input_of
from edgekit.passes.prune.groups.rules.registry import rule
from edgekit.passes.prune.groups.tracking import Block, Tracker, described, dims


@rule("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def pool(tracker: Tracker, node: ir.Node) -> None:
    """Each channel is pooled alone; the indices of a MaxPool count channels, so they keep all of them."""
    source = node.inputs[0]
    assert source is not None
    spatial = range(2, len(dims(source)))
    blocks = tracker.keeping(tracker.of(source), spatial, f"{described(node)} pools over it")
    if len(node.outputs) > 1 and node.outputs[1].uses():
        tracker.pin(blocks, f"the indices of {described(node)} count its channels")
    tracker.set(node.outputs[0], blocks)


@rule("Resize", "Upsample")
def resize(tracker: Tracker, node: ir.Node) -> None:
    """Axes that keep their length keep their channels."""
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    before, after = dims(source), dims(output)
    resized = [axis for axis, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    blocks = tracker.keeping(tracker.of(source), resized, f"{described(node)} interpolates over it")
    zero = attribute(node, "coordinate_transformation_mode") != "tf_crop_and_resize"
    tracker.set(output, (block.with_zero(block.zero & zero) for block in blocks))


@rule("Pad")
def pad(tracker: Tracker, node: ir.Node) -> None:
    """Other axes may be padded; what is added to a channel axis stays, and negative pads cut channels off."""
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    before, blocks = dims(source), tracker.of(source)
    amounts = _pads(node, len(before))
    constant = attribute(node, "mode") == "constant"
    if amounts is None or not constant:
        padded = range(len(before)) if amounts is None else [axis for axis, pair in amounts.items() if any(pair)]
        blocks = tracker.keeping(blocks, padded, f"{described(node)} pads it with its own channels")
        tracker.set(output, blocks)
        return
    value = input_of(node, 2)
    filled = constant_value(value)
    zero = value is None or (filled is not None and not filled.any())
    result = []
    for block in blocks:
        padded = [axis for axis in block.axes if any(amounts.get(axis, (0, 0)))]
        if not padded:
            result.append(block.with_zero(block.zero & zero))
        elif (line := tracker.alone((block,), padded[0])) is not None:
            line = line.with_zero(
                line.zero
                & (
                    zero
                    or not any(amounts.get(axis, (0, 0)) != (0, 0) for axis in range(len(before)) if axis != padded[0])
                )
            )
            result.append(_padded(tracker, node, line, *amounts[padded[0]]))
    tracker.set(output, result)


def _pads(node: ir.Node, rank: int) -> dict[int, tuple[int, int]] | None:
    """Begin and end by axis; None when they are computed."""
    pads, axes = constant_value(node.inputs[1]), input_of(node, 3)
    chosen = None if axes is None else constant_value(axes)
    if pads is None or (axes is not None and chosen is None):
        return None
    positions = range(rank) if chosen is None else [int(axis) % rank for axis in chosen]
    half = len(pads) // 2
    return {axis: (int(pads[i]), int(pads[half + i])) for i, axis in enumerate(positions)}


def _padded(tracker: Tracker, node: ir.Node, block: Block, begin: int, end: int) -> Block:
    reason = f"{described(node)} adds channels there"
    labels, zero = block.labels, block.zero
    stop = len(labels) + min(end, 0)
    labels, zero = labels[max(-begin, 0) : stop], zero[max(-begin, 0) : stop]
    parts = [tracker.fixed(0, max(begin, 0), reason).labels, labels, tracker.fixed(0, max(end, 0), reason).labels]
    widths = (max(begin, 0), max(end, 0))
    return Block(block.axes, np.concatenate(parts), np.pad(zero, widths))
