"""Whole regions of elementwise ops change their layout when that takes fewer Transposes."""

from collections import defaultdict
from dataclasses import dataclass, field

import onnx_ir as ir

from edgekit.graph.edit import GraphEditor
from edgekit.graph.queries import attribute, is_constant, is_op, produced_by, shape_of, single_consumer
from edgekit.passes.canonicalize.layout_regions import drops_axes_in_order, permute_node, region_values
from edgekit.passes.canonicalize.transposes import Permutation, compose, inverse, permutation_of

# A Transpose next to a graph input or output costs a little less: activations then stay beside the layer they fuse
# with, and scaling of the input beside the layer it folds into.
_COST, _COST_AT_BOUNDARY = 10, 9


@dataclass(slots=True)
class Region:
    """Nodes that compute the same in any layout, as long as they all use the same one."""

    nodes: list[ir.Node] = field(default_factory=list)
    inside: set[ir.Value] = field(default_factory=set)
    sources: dict[ir.Value, None] = field(default_factory=dict)

    def find_sources(self) -> None:
        """Looks up the values from outside that the layout concerns; rewriting a neighbour may have changed them."""
        values = (value for node in self.nodes for value in region_values(node) or ())
        self.sources = dict.fromkeys(value for value in values if value not in self.inside)

    def touches(self, others: set[ir.Node]) -> bool:
        """Whether nothing separates this region from one of ``others`` any more."""
        consumers = (use.node for value in self.inside for use in value.uses())
        return any(node in others for node in consumers) or any(value.producer() in others for value in self.sources)


class MoveTransposes(ir.passes.InPlacePass):
    """Gives each connected region of layout-agnostic ops the layout that needs the fewest Transposes around it.

    Given:
        Conv -> Transpose(0,2,3,1) -> Add(., b[C]) -> Concat(axis=3) -> Transpose(0,3,1,2) -> Conv
    Result:
        Conv -> Add(., b[C,1,1]) -> Concat(axis=1) -> Conv

    Elementwise ops, Concat, Split, Slice, Pad, Softmax and reductions belong to regions; constants, axes and pads
    follow. Candidates are the permutations of the Transposes around the region; the count of Transposes must fall, so
    the pass comes to an end.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """One layout decision per region; regions that have grown together on the way wait for the next run."""
        changed: set[ir.Node] = set()
        if any(is_op(node, "Transpose") for node in model.graph):
            editor = GraphEditor(model.graph)
            for region in _regions(model.graph):
                region.find_sources()
                best = None if region.touches(changed) else _best_layout(region)
                if best is not None:
                    _apply(region, best, editor)
                    changed.update(region.nodes)
        return ir.passes.PassResult(model, bool(changed))


def _regions(graph: ir.Graph) -> list[Region]:
    parents: dict[ir.Value, ir.Value] = {}

    def root(value: ir.Value) -> ir.Value:
        while parents.setdefault(value, value) is not value:
            parents[value] = parents[parents[value]]
            value = parents[value]
        return value

    members: list[tuple[ir.Node, list[ir.Value]]] = []
    for node in graph:
        values = region_values(node)
        if values:
            members.append((node, values))
            for value in values[1:]:
                parents[root(value)] = root(values[0])
    regions: defaultdict[ir.Value, Region] = defaultdict(Region)
    for node, values in members:
        region = regions[root(values[0])]
        region.nodes.append(node)
        region.inside.update(value for value in node.outputs if value.name)
    return list(regions.values())


def _outside_uses(value: ir.Value, nodes: set[ir.Node]) -> list[ir.Node]:
    return [use.node for use in value.uses() if use.node not in nodes]


def _best_layout(region: Region) -> Permutation | None:
    """The cheapest layout, as the permutation from the present one; None when the present one is."""
    nodes = set(region.nodes)
    candidates: dict[Permutation, None] = {}
    for value in region.sources:
        transpose = produced_by(value, "Transpose")
        if transpose is not None:
            candidates[inverse(permutation_of(transpose))] = None
    for value in region.inside:
        for consumer in _outside_uses(value, nodes):
            if is_op(consumer, "Transpose"):
                candidates[permutation_of(consumer)] = None
    if not candidates:
        return None
    identity = tuple(range(len(next(iter(candidates)))))
    cost = {layout: _cost(region, layout, nodes) for layout in sorted(candidates)}
    best = min(cost, key=lambda layout: cost[layout])
    return best if best != identity and cost[best] < _cost(region, identity, nodes) else None


def _cost(region: Region, layout: Permutation, nodes: set[ir.Node]) -> int:
    total = sum(_source_cost(value, layout, nodes) for value in region.sources)
    return total + sum(_result_cost(value, layout, nodes) for value in region.inside)


def _moves_nothing(value: ir.Value, permutation: Permutation) -> bool:
    """Whether transposing ``value`` moves only axes of size 1, which a Reshape does as well."""
    shape = shape_of(value)
    moved = [axis for axis in permutation if shape[axis] != 1]
    return moved == sorted(moved)


def _is_identity(permutation: Permutation) -> bool:
    return permutation == tuple(range(len(permutation)))


def _source_cost(value: ir.Value, layout: Permutation, nodes: set[ir.Node]) -> int:
    transpose = produced_by(value, "Transpose")
    source, needed, stays = value, layout, 0
    if transpose is not None and transpose.inputs[0] is not None:
        source, needed = transpose.inputs[0], compose(permutation_of(transpose), layout)
        if not _is_identity(layout) and (value.is_graph_output() or _outside_uses(value, nodes)):
            stays = _COST
    if _is_identity(needed):
        return stays
    if produced_by(source, "Reshape") and single_consumer(source) and _moves_nothing(source, needed):
        return stays
    return stays + (_COST_AT_BOUNDARY if source.is_graph_input() else _COST)


def _result_cost(value: ir.Value, layout: Permutation, nodes: set[ir.Node]) -> int:
    back = inverse(layout)
    outer: dict[Permutation, int] = {}
    if value.is_graph_output():
        outer[back] = _COST_AT_BOUNDARY
    for consumer in _outside_uses(value, nodes):
        if is_op(consumer, "Transpose"):
            at_boundary = consumer.outputs[0].is_graph_output()
            needed = compose(back, permutation_of(consumer))
            cost = 0 if _is_free(consumer.outputs[0]) else _COST_AT_BOUNDARY if at_boundary else _COST
        elif _follows(consumer, value, layout) or _goes_into_weights(consumer, value):
            continue
        else:
            needed, cost = back, _COST
        outer[needed] = max(outer.get(needed, 0), cost)
    return sum(cost for permutation, cost in outer.items() if not _is_identity(permutation))


def _is_free(transposed: ir.Value) -> bool:
    consumer = single_consumer(transposed)
    return consumer is not None and _goes_into_weights(consumer, transposed)


def _goes_into_weights(consumer: ir.Node, value: ir.Value) -> bool:
    """Whether TransposeIntoGemm takes a Transpose between ``value`` and this flattening Reshape away."""
    if not is_op(consumer, "Reshape") or consumer.inputs[0] is not value:
        return False
    gemm = single_consumer(consumer.outputs[0])
    shape, flat = shape_of(value), shape_of(consumer.outputs[0])
    return (
        gemm is not None
        and is_op(gemm, "Gemm")
        and is_constant(gemm.inputs[1])
        and flat[0] == shape[0]
        and len(flat) == 2
    )


def _follows(consumer: ir.Node, value: ir.Value, layout: Permutation) -> bool:
    """Whether a consumer outside can read the new layout: a reduction or a Reshape with the same result."""
    if consumer.inputs[0] is not value:
        return False
    if is_op(consumer, "Reshape"):
        return _moves_nothing(value, layout) and not attribute(consumer, "allowzero")
    return drops_axes_in_order(consumer, layout)


def _apply(region: Region, layout: Permutation, editor: GraphEditor) -> None:
    nodes = set(region.nodes)
    for value in list(region.sources):
        moved = _transposed(value, layout, editor)
        for use in tuple(value.uses()):
            if use.node in nodes:
                use.node.replace_input_with(use.idx, moved)
        editor.remove_unused(value)
    for node in region.nodes:
        permute_node(node, layout, editor)
        for output in node.outputs:
            if output.name:
                output.shape = ir.Shape([shape_of(output)[axis] for axis in layout])
    for node in region.nodes:
        for output in list(node.outputs):
            _restore_outside(output, layout, nodes, editor)


def _transposed(value: ir.Value, permutation: Permutation, editor: GraphEditor) -> ir.Value:
    """``value`` transposed, through the Transpose that made it where there is one."""
    before = produced_by(value, "Transpose")
    if before is not None and before.inputs[0] is not None:
        value, permutation = before.inputs[0], compose(permutation_of(before), permutation)
    if _is_identity(permutation):
        return value
    return _insert_behind(value, permutation, editor)


def _insert_behind(value: ir.Value, permutation: Permutation, editor: GraphEditor) -> ir.Value:
    shape = [shape_of(value)[axis] for axis in permutation]
    producer = value.producer()
    anchor = producer if producer is not None else editor.graph.node(0)
    output = editor.insert(anchor, "Transpose", [value], {"perm": list(permutation)}, like=value, shape=shape)
    node = output.producer()
    if producer is not None and node is not None:
        editor.graph.remove(node)
        editor.graph.insert_after(producer, node)
    return output


def _restore_outside(value: ir.Value, layout: Permutation, nodes: set[ir.Node], editor: GraphEditor) -> None:
    """Everyone outside the region gets ``value`` in the old layout; Transposes and reductions adapt themselves."""
    back = inverse(layout)
    # Asked first: the value may become an output below, in place of a Transpose that vanishes.
    was_output = value.is_graph_output()
    waiting = []
    for use in tuple(value.uses()):
        if use.node in nodes:
            continue
        if is_op(use.node, "Transpose"):
            needed = compose(back, permutation_of(use.node))
            use.node.attributes["perm"] = ir.AttrInt64s("perm", list(needed))
            if _is_identity(needed):
                editor.replace(use.node.outputs[0], value)
        elif drops_axes_in_order(use.node, layout) and use.idx == 0:
            permute_node(use.node, layout, editor)
        elif not (is_op(use.node, "Reshape") and use.idx == 0 and _moves_nothing(value, back)):
            waiting.append(use)
    if waiting or was_output:
        _redirect(value, back, [(use.node, use.idx) for use in waiting], was_output, editor)


def _redirect(
    value: ir.Value, back: Permutation, uses: list[tuple[ir.Node, int]], is_output: bool, editor: GraphEditor
) -> None:
    """The Transpose back takes over the value's name where that is a graph output's."""
    old = _insert_behind(value, back, editor)
    for node, index in uses:
        node.replace_input_with(index, old)
    if not is_output:
        return
    for index, output in enumerate(editor.graph.outputs):
        if output is value:
            editor.graph.outputs[index] = old
    value.name, old.name = old.name, value.name
