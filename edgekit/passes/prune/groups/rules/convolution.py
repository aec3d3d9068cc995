"""Convolutions: dense, grouped, depthwise, transposed."""

import numpy as np
import onnx_ir as ir

from edgekit.graph.queries import attribute, input_of, is_constant
from edgekit.passes.prune.groups.rules.registry import rule
from edgekit.passes.prune.groups.tracking import Block, Tracker, described, dims

WHOLE_BLOCKS = 8
"""From this many blocks of several channels on, a grouped convolution loses whole blocks (ResNeXt, RegNet).

With fewer it loses the same channels in each block, so that all blocks stay of one size (ShuffleNet, AlexNet).
"""


@rule("Conv")
def conv(tracker: Tracker, node: ir.Node) -> None:
    """The weight is [out, in / group, kernel...]."""
    _convolve(tracker, node, dims(node.outputs[0])[1], out_axis=0, in_axis=1)


@rule("ConvTranspose")
def conv_transpose(tracker: Tracker, node: ir.Node) -> None:
    """The weight is [in, out / group, kernel...]."""
    _convolve(tracker, node, dims(node.outputs[0])[1], out_axis=1, in_axis=0)


def _convolve(tracker: Tracker, node: ir.Node, channels: int, *, out_axis: int, in_axis: int) -> None:
    source, weight = node.inputs[:2]
    assert source is not None and weight is not None
    shape, group = dims(source), int(attribute(node, "group"))
    blocks = tracker.keeping(tracker.of(source), range(2, len(shape)), f"{described(node)} slides over it")
    entering = tracker.alone(blocks, 1)
    bias = input_of(node, 2)
    # What is zero along another axis (that of samples) gets the bias there.
    others = [block.with_zero(block.zero & (bias is None)) for block in blocks if 1 not in block.axes]
    if not is_constant(weight):
        tracker.pin(tracker.of(weight), f"the weights of {described(node)} are computed")
        tracker.pin([entering] if entering else [], f"the weights of {described(node)} are computed")
        tracker.origins[node.outputs[0]] = f"what {described(node)} makes with computed weights"
        tracker.set(node.outputs[0], others)
        return
    per_block = shape[1] // group
    if group > 1 and (per_block == 1 or (group >= WHOLE_BLOCKS and entering is not None)):
        out = _block_by_block(tracker, node, channels, group, entering)
        tracker.follow_axes(weight, {0: out if out_axis == 0 else entering})
    else:
        out = _in_each_block(tracker, node, channels, group, entering)
        block_out, block_in = _first(out, group), _first(entering, group)
        whole, part = (out, block_in) if out_axis == 0 else (entering, block_out)
        tracker.follow_axes(weight, {0: whole, 1: part})
        tracker.produces(node, weight, out_axis)
        tracker.consumes(node, weight, in_axis)
    if bias is None or is_constant(bias):
        tracker.follow_axes(bias, {0: out})
    else:
        out = _plus(tracker, node, out, bias)
    tracker.set(node.outputs[0], [out, *others])


def _block_by_block(tracker: Tracker, node: ir.Node, channels: int, group: int, entering: Block | None) -> Block | None:
    """What a block reads and what it makes go together; of a depthwise convolution that is each channel."""
    if entering is None:
        source = node.inputs[0]
        assert source is not None
        tracker.origins[node.outputs[0]] = tracker.origin(source)
        return None
    read = entering.labels.reshape(group, -1)
    tracker.atoms.unify(read, read[:, :1])
    labels = np.repeat(read[:, 0], channels // group)
    return Block((1,), labels, np.ones(channels, dtype=np.bool_))


def _in_each_block(tracker: Tracker, node: ir.Node, channels: int, group: int, entering: Block | None) -> Block | None:
    """New channels; with several blocks the same index of each goes together, before and behind."""
    if entering is not None and group > 1:
        read = entering.labels.reshape(group, -1)
        tracker.atoms.unify(read, read[:1])
    if channels < 2:
        return None
    labels = np.tile(tracker.atoms.new(channels // group), group)
    return Block((1,), labels, np.ones(channels, dtype=np.bool_))


def _plus(tracker: Tracker, node: ir.Node, out: Block | None, bias: ir.Value) -> Block | None:
    """A computed bias is a sum: tf2onnx writes one where a residual is added to a single pixel."""
    added = tracker.alone(tracker.of(bias), 0)
    if out is None or added is None:
        reason = f"{described(node)} adds what is whole to it"
        tracker.pin([block for block in (out, *tracker.of(bias)) if block is not None], reason)
        return out
    tracker.atoms.unify(out.labels, added.labels)
    return Block(out.axes, out.labels, out.zero & added.zero)


def _first(block: Block | None, group: int) -> Block | None:
    """The labels of the first of ``group`` blocks, None where that is one channel."""
    if block is None or block.labels.size == group:
        return None
    labels = block.labels[: block.labels.size // group]
    return Block(block.axes, labels, block.zero[: labels.size])
