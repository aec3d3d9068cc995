"""Take channels out of a graph: physically, or, to prove that this is right, by zeros."""

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import EdgekitError
from edgekit.graph.edit import GraphEditor
from edgekit.graph.queries import constant_value, is_floating, static_shape
from edgekit.graph.shapes import infer_shapes
from edgekit.passes.prune.groups import ChannelGroups
from edgekit.passes.prune.node_sizes import KeptChannels, resize_node

Removed = NDArray[np.bool_]
"""[unit_count]: True for the units that go."""


def remove(model: ir.Model, groups: ChannelGroups, removed: Removed) -> ir.Model:
    """A new model without the removed units: smaller weights, shapes, Split sizes, Reshape targets, conv groups.

    Inputs and outputs of the model keep their shapes; names of nodes and weights stay. Values get their new shapes.
    Values of ``groups`` that the model does not have (in branches dropped before) are passed over. Raises EdgekitError
    where nothing would be left of an axis; the same error on another shape than the labels tell is a bug in the groups.
    """
    kept = KeptChannels(model, groups, removed)
    smaller = model.clone()
    editor = GraphEditor(smaller.graph)
    for name, keeps in kept.axes.items():
        if not all(keep.any() for keep in keeps.values()):
            raise EdgekitError(f"value {name!r}: no channel would be left; keep at least one in every part of a group")
        if name in smaller.graph.initializers:
            _replace(smaller.graph.initializers[name], kept.take(name))
    for node in list(smaller.graph):
        resize_node(node, kept, editor)
    for value in (output for node in smaller.graph for output in node.outputs):
        if value.name in kept.axes:
            value.shape = ir.Shape(kept.shape(value.name))
    infer_shapes(smaller)
    _check(smaller, kept)
    return smaller


def zero(model: ir.Model, groups: ChannelGroups, removed: Removed) -> ir.Model:
    """A new model of the same shapes in which every floating-point constant is 0 at the removed units.

    Computes the same as ``remove`` within float rounding: that is the test of the grouping. The constants in
    ``groups.unzeroed`` stay: zero divided by them is zero, while 0 / 0 would spoil what follows even times zero.
    """
    kept = KeptChannels(model, groups, removed)
    zeroed = model.clone()
    for name, keeps in kept.axes.items():
        value = zeroed.graph.initializers.get(name)
        if value is None or not is_floating(value) or name in groups.unzeroed:
            continue
        array = np.array(constant_value(value))
        for axis, keep in keeps.items():
            np.moveaxis(array, axis, 0)[~keep] = 0
        _replace(value, array)
    return zeroed


def _replace(value: ir.Value, array: NDArray[np.generic]) -> None:
    value.const_value = ir.Tensor(np.ascontiguousarray(array).reshape(array.shape), name=value.name)
    value.shape = ir.Shape(array.shape)


def _check(smaller: ir.Model, kept: KeptChannels) -> None:
    """Every value has the shape that the labels tell, and those of the model's inputs and outputs are the old ones."""
    graph = smaller.graph
    for value in [*graph.inputs, *graph.outputs]:
        if static_shape(value) != kept.shape_before(value.name or ""):
            raise EdgekitError(f"{value.name!r}: an input or output of the model would change its shape")
    for value in (output for node in graph for output in node.outputs):
        if value.name and kept.knows(value.name) and static_shape(value) != kept.shape(value.name):
            raise EdgekitError(
                f"value {value.name!r}: shape {static_shape(value)} after channels were removed, "
                f"expected {kept.shape(value.name)}; the channel groups are wrong"
            )
