"""From a graph to its channel groups: walk, settle, gather."""

from collections.abc import Sequence

import onnx_ir as ir

from edgekit.graph.queries import is_constant, static_shape
from edgekit.passes.prune.groups.channels import ChannelGroups
from edgekit.passes.prune.groups.gathering import gather
from edgekit.passes.prune.groups.rules import RULES
from edgekit.passes.prune.groups.rules.elementwise import never_set_to_zero
from edgekit.passes.prune.groups.settling import settle
from edgekit.passes.prune.groups.tracking import Tracker, described


def find_channel_groups(model: ir.Model) -> ChannelGroups:
    """The channel groups of a graph with static shapes; the model stays as it is.

    Raises ``ModelError`` where a shape is not static.
    """
    tracker = _walk(model.graph)
    settle(tracker)
    return gather(tracker)


def _walk(graph: ir.Graph) -> Tracker:
    tracker = Tracker(unzeroed={name for node in graph if (name := never_set_to_zero(node))})
    for value in graph.inputs:
        tracker.origins[value] = f"the model's input {value.name!r}"
    for node in graph:
        _visit(tracker, node)
    for value in graph.outputs:
        tracker.pin(tracker.of(value), f"{value.name!r} is an output of the model")
        if is_constant(value):
            tracker.follow(value)
    return tracker


def _visit(tracker: Tracker, node: ir.Node) -> None:
    constants = [value for value in node.inputs if value is not None and is_constant(value)]
    before = {value: len(tracker.constants.get(value, ())) for value in constants}
    if _is_followed(node):
        RULES[node.op_type](tracker, node)
    else:
        _keep_whole(tracker, node)
    for value, uses in before.items():
        if len(tracker.constants.get(value, ())) == uses:
            tracker.follow(value)
    for output in node.outputs:
        tracker.origins.setdefault(output, f"what {described(node)} makes")


def _is_followed(node: ir.Node) -> bool:
    """Whether there is a rule, and something to follow: every value has a static shape."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in RULES:
        return False
    values = [value for value in (*node.inputs, *node.outputs) if value is not None and value.name]
    return all(static_shape(value) is not None for value in values)


def _keep_whole(tracker: Tracker, node: ir.Node) -> None:
    """Nothing that an unknown node reads may change, nor what the graphs inside it capture."""
    reason = f"{described(node)} reads it, and channels are not followed through {node.op_type}"
    for value in (*node.inputs, *_captured(node)):
        if value is not None:
            tracker.pin(tracker.of(value), reason)
            if is_constant(value):
                tracker.follow(value)


def _captured(node: ir.Node) -> list[ir.Value]:
    graphs = [graph for attribute in node.attributes.values() for graph in _graphs(attribute)]
    return [value for graph in graphs for inner in graph.all_nodes() for value in inner.inputs if value is not None]


def _graphs(attribute: ir.Attr) -> Sequence[ir.Graph]:
    if attribute.type == ir.AttributeType.GRAPH:
        return [attribute.as_graph()]
    return list(attribute.as_graphs()) if attribute.type == ir.AttributeType.GRAPHS else []
