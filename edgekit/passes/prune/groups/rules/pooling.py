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
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
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
    """Other axes may be padded; channels that are added go like others, and negative pads cut channels off."""
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
        pixels = any(any(pair) for axis, pair in amounts.items() if axis not in block.axes)
        if not padded:
            result.append(block.with_zero(block.zero & (zero or not pixels)))
        elif (line := tracker.alone((block,), padded[0])) is not None:
            line = line.with_zero(line.zero & (zero or not pixels))
            result.append(_padded(tracker, line, amounts[padded[0]], zero=zero))
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


def _padded(tracker: Tracker, block: Block, amount: tuple[int, int], *, zero: bool) -> Block:
    """New channels are made of nothing, so they can be removed with what they are added to, as in BlazeFace."""
    begin, end = amount
    kept = slice(max(-begin, 0), len(block.labels) + min(end, 0))
    begin, end = max(begin, 0), max(end, 0)
    labels = [tracker.atoms.new(begin), block.labels[kept], tracker.atoms.new(end)]
    flags = np.pad(block.zero[kept], (begin, end), constant_values=zero)
    return Block(block.axes, np.concatenate(labels), flags)
