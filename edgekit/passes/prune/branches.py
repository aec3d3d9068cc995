"""Residual branches, which can be removed as a whole: the sum becomes its other term.

In a network trained with stochastic depth (Huang et al. 2016, arXiv:1603.09382) a branch that is exactly zero is
something it has seen; whether a given network bears it is measured, never assumed.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import onnx_ir as ir

from edgekit.errors import EdgekitError
from edgekit.graph.cost import node_macs
from edgekit.graph.edit import GraphEditor
from edgekit.graph.queries import constant_scalar, input_of, is_constant, is_floating, is_op, static_shape
from edgekit.passes.prune.groups import ChannelGroups

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")

_ZERO_PRESERVING = (
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Tile", "Slice", "Gather"),
    *("DepthToSpace", "SpaceToDepth", "Resize", "AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"),
    *("ReduceMean", "ReduceSum", "ReduceMax", "Neg", "Abs", "Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Gelu"),
    *("Tanh", "HardSwish", "Mish", "Softsign"),
)
"""Zeros in, zeros out; the data is input 0. Mul, Div, Clip and Add need a closer look."""

_INFINITE_AT_ZERO = ("Reciprocal", "Log")


@dataclass(frozen=True, slots=True)
class Branch:
    """One term of the Add (or Sum of two) ``add``: what would be computed for nothing when the Add gave its other term.

    ``name`` is that of the node that gives the term. ``nodes`` are the names of the nodes that only serve it, those of
    a branch inside this one among them. ``last`` is the node with a weight from which the Add reads, perhaps through
    nodes that keep zeros, and ``weights`` are its constants: all zero, the branch is exactly zero. ``groups`` are the
    channel groups that live only inside. Two branches of the same Add exclude each other.
    """

    name: str
    add: str
    nodes: frozenset[str]
    last: str
    weights: tuple[str, ...]
    groups: frozenset[str]


def find_branches(model: ir.Model, groups: ChannelGroups) -> tuple[Branch, ...]:
    """The branches of a graph with static shapes whose removal saves multiply-accumulates, in the graph's order."""
    living = _nodes_of_groups(model, groups)
    return tuple(
        branch
        for add in model.graph
        if is_op(add, "Add", "Sum") and _adds_alike(add)
        for term in add.inputs
        if (branch := _branch(model, add, term, living)) is not None
    )


def drop_branches(model: ir.Model, branches: Collection[Branch]) -> ir.Model:
    """A new model without the branches; their groups' units no longer occur in it.

    Raises EdgekitError when nothing would be left of a sum.
    """
    smaller = model.clone()
    editor = GraphEditor(smaller.graph)
    adds = {node.name: node for node in smaller.graph if node.name in {branch.add for branch in branches}}
    for branch in branches:
        add = adds[branch.add]
        if add.graph is not smaller.graph:
            if any(branch is not other and branch.add == other.add for other in branches):
                raise EdgekitError(f"node {branch.add!r}: both terms of the sum are to be dropped; keep one")
            continue
        other = add.inputs[1 - term_index(add, branch)]
        assert other is not None
        editor.replace(add.outputs[0], other)
    return smaller


def term_index(add: ir.Node, branch: Branch) -> int:
    """Which input of the Add the branch gives."""
    names = [None if value is None or (node := value.producer()) is None else node.name for value in add.inputs]
    return names.index(branch.name)


def unneeded(graph: ir.Graph, dropped: Collection[tuple[ir.Node, int]]) -> set[ir.Node]:
    """The nodes whose outputs nobody reads when these inputs, each (node, index), are no longer read."""
    dead: set[ir.Node] = set()
    unread = set(dropped)
    for node in reversed(graph):
        uses = [(use.node, use.idx) for output in node.outputs for use in output.uses()]
        read = any(user not in dead and (user, index) not in unread for user, index in uses)
        if uses and not read and not any(output.is_graph_output() for output in node.outputs):
            dead.add(node)
    return dead


def _adds_alike(add: ir.Node) -> bool:
    """Whether two different values that depend on the inputs are added without broadcasting."""
    if len(add.inputs) != 2:
        return False
    left, right = add.inputs
    shapes = {static_shape(value) for value in (left, right, add.outputs[0])}
    return (
        left is not right
        and not any(is_constant(value) for value in (left, right))
        and is_floating(add.outputs[0])
        and len(shapes) == 1
        and None not in shapes
    )


def _branch(model: ir.Model, add: ir.Node, term: ir.Value | None, living: dict[str, set[ir.Node]]) -> Branch | None:
    if term is None or (first := term.producer()) is None:
        return None
    nodes = unneeded(model.graph, [(add, list(add.inputs).index(term))])
    ends = next((ends for ends in _ends(term, ()) if _all_inside(ends, nodes) and _stays_finite(ends, nodes)), None)
    if ends is None or not sum(node_macs(node) for node in nodes):
        return None
    weights = dict.fromkeys(value.name or "" for value in ends[1])
    inside = frozenset(name for name, group_nodes in living.items() if group_nodes and group_nodes <= nodes)
    names = frozenset(node.name or "" for node in nodes)
    return Branch(first.name or "", add.name or "", names, ends[0].name or "", tuple(weights), inside)


_Ends = tuple[ir.Node, tuple[ir.Value, ...]]
"""The last node with a weight, and all constants that must be zero to make the branch zero."""


def _ends(value: ir.Value | None, constants: tuple[ir.Value, ...]) -> Iterator[_Ends]:
    """Every node with a weight that makes ``value`` zero when its constants (and ``constants`` on the way) are zero."""
    node = None if value is None else value.producer()
    if node is None:
        return
    if is_op(node, *_WEIGHTED):
        weights = [value for value in node.inputs if value is not None and value.is_initializer()]
        # Of the factors one may be computed, the bias not.
        if any(value in weights for value in node.inputs[:2]) and input_of(node, 2) in (None, *weights):
            yield node, (*weights, *constants)
    elif is_op(node, "Add"):
        terms = [value for value in node.inputs if value is not None and value.is_initializer()]
        for other in node.inputs if len(terms) == 1 else ():
            yield from _ends(other, (*terms, *constants))
    elif is_op(node, "Mul"):
        for factor in node.inputs:
            yield from _ends(factor, constants)
    elif is_op(node, *_ZERO_PRESERVING, "Div") or (is_op(node, "Clip") and _clips_around_zero(node)):
        yield from _ends(node.inputs[0], constants)


def _clips_around_zero(node: ir.Node) -> bool:
    bounds = [constant_scalar(bound) if (bound := input_of(node, index)) else 0.0 for index in (1, 2)]
    return bounds[0] is not None and bounds[1] is not None and bounds[0] <= 0 <= bounds[1]


def _all_inside(ends: _Ends, nodes: set[ir.Node]) -> bool:
    """The constants are nobody else's, so that zeros in them change nothing outside."""
    last, constants = ends
    return last in nodes and all(use.node in nodes for value in constants for use in value.uses())


def _stays_finite(ends: _Ends, nodes: set[ir.Node]) -> bool:
    """Whether nothing in the branch is divided by what zeros in the constants may make zero: that is no number."""
    zeros: set[ir.Value | None] = set(ends[1])
    graph = ends[0].graph
    for node in (node for node in graph or () if node in nodes and not zeros.isdisjoint(node.inputs)):
        divides = is_op(node, "Div") and node.inputs[1] in zeros
        if divides or is_op(node, *_INFINITE_AT_ZERO) or (is_op(node, "Pow") and not _is_power(node)):
            return False
        zeros.update(node.outputs)
    return True


def _is_power(node: ir.Node) -> bool:
    """Whether the exponent is a positive constant."""
    exponent = constant_scalar(node.inputs[1])
    return exponent is not None and exponent > 0


def _nodes_of_groups(model: ir.Model, groups: ChannelGroups) -> dict[str, set[ir.Node]]:
    """By group: the nodes that make values with its channels, or read constants with them."""
    owner = {unit: group.name for group in groups.groups for unit in group.units}
    nodes: dict[str, set[ir.Node]] = {group.name: set() for group in groups.groups}
    values = [*model.graph.initializers.values(), *(output for node in model.graph for output in node.outputs)]
    by_name = {value.name: value for value in values}
    for (name, _), labels in groups.axes.items():
        value = by_name.get(name)
        if value is None:
            continue
        producer = value.producer()
        served = [use.node for use in value.uses()] if producer is None else [producer]
        for group in {owner[unit] for unit in labels.tolist() if unit in owner}:
            nodes[group].update(served)
    return nodes
