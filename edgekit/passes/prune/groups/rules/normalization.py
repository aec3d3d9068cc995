"""Normalizations: of each channel over pixels, over groups of channels, over channels."""

import onnx_ir as ir

from edgekit.graph.queries import attribute
from edgekit.passes.prune.groups.rules.registry import rule
from edgekit.passes.prune.groups.tracking import Block, Tracker, described, dims


@rule("BatchNormalization", "InstanceNormalization")
def per_channel(tracker: Tracker, node: ir.Node) -> None:
    """The constants of a channel go with it."""
    source = node.inputs[0]
    assert source is not None
    spatial = range(2, len(dims(source)))
    over = spatial if node.op_type == "InstanceNormalization" else ()
    blocks = tracker.keeping(tracker.of(source), over, f"{described(node)} normalizes over it")
    _scale(tracker, node, tracker.alone(blocks, 1), [block for block in blocks if 1 not in block.axes])


@rule("GroupNormalization")
def group_norm(tracker: Tracker, node: ir.Node) -> None:
    """Each group of channels has a mean of its own, so whole groups can go."""
    source = node.inputs[0]
    assert source is not None
    spatial = range(2, len(dims(source)))
    blocks = tracker.keeping(tracker.of(source), spatial, f"{described(node)} normalizes over it")
    entering = tracker.alone(blocks, 1)
    if entering is not None:
        groups = entering.labels.reshape(attribute(node, "num_groups"), -1)
        tracker.atoms.unify(groups, groups[:, :1])
    _scale(tracker, node, entering, [block for block in blocks if 1 not in block.axes])


@rule("LayerNormalization", "RMSNormalization")
def layer_norm(tracker: Tracker, node: ir.Node) -> None:
    """All axes from ``axis`` on are averaged over."""
    source = node.inputs[0]
    assert source is not None
    rank = len(dims(source))
    axes = range(attribute(node, "axis") % rank, rank)
    reason = f"{described(node)} averages over its channels: removing one changes the others"
    blocks = tracker.keeping(tracker.of(source), axes, reason)
    # The mean and the deviation have these axes with length 1, and the others as they are.
    for output in node.outputs:
        tracker.set(output, [block.with_zero(False) for block in blocks])


@rule("LRN")
def local_response(tracker: Tracker, node: ir.Node) -> None:
    """A channel is divided by its neighbours."""
    source = node.inputs[0]
    assert source is not None
    blocks = tracker.keeping(tracker.of(source), (1,), f"{described(node)} divides each channel by its neighbours")
    tracker.set(node.outputs[0], blocks)


def _scale(tracker: Tracker, node: ir.Node, channels: Block | None, others: list[Block]) -> None:
    """The constants are one number per channel."""
    for constant in node.inputs[1:]:
        tracker.follow_axes(constant, {0: channels})
    others = [block.with_zero(False) for block in others]
    tracker.set(node.outputs[0], [None if channels is None else channels.with_zero(True), *others])
