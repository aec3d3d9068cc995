"""The layers that read a group's channels: what can make up for removed ones, and what only loses columns."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.queries import constant_value
from edgekit.passes.prune.groups import ChannelGroup, ChannelGroups
from edgekit.passes.prune.layers import Layer, layer_of
from edgekit.passes.prune.moments import is_shared, supports_moments
from edgekit.passes.prune.network import Array, Weights
from edgekit.passes.prune.removal import Removed

_TAKE_PARTS = frozenset({"Slice", "Gather", "Split", "Shape", "Size"})


@dataclass(frozen=True, slots=True)
class GroupReaders:
    """How one group is removed from the full-size network.

    ``fitted``: layers whose weights are solved anew. ``zeroed``: constants (name, axis) that are set to zero at removed
    units, nothing more. ``nodes``: names of all nodes that read any of these; ``weights``: names of the initializers.
    """

    group: ChannelGroup
    fitted: tuple[Layer, ...]
    zeroed: tuple[tuple[str, int], ...]
    nodes: tuple[str, ...]
    weights: tuple[str, ...]


def find_readers(model: ir.Model, channels: ChannelGroups) -> dict[str, GroupReaders]:
    """By group name. Of a group that also ends without a weight (in a product of activations) its makers are zeroed."""
    nodes = {node.name or "": node for node in model.graph}
    unweighted = _ends_without_weight(model, channels)
    return {
        group.name: _readers(model, channels, group, nodes, whole=group.name in unweighted) for group in channels.groups
    }


def unit_columns(channels: ChannelGroups, group: ChannelGroup, layer: Layer) -> list[NDArray[np.intp]]:
    """For each unit of the group the columns of the layer's matrix, those of the whole kernel."""
    (use,) = {(use.weight, use.axis) for use in group.consumers if use.node == layer.node.name}
    labels = channels.axes[use]
    kernel = layer.columns // len(labels)
    return [
        (np.flatnonzero(labels == unit)[:, None] * kernel + np.arange(kernel)).reshape(-1).astype(np.intp)
        for unit in group.units
    ]


def zeroed(
    model: ir.Model, channels: ChannelGroups, uses: Iterable[tuple[str, int]], removed: Removed, weights: Weights
) -> dict[str, Array]:
    """The constants of ``uses`` (name, axis), those in ``weights`` or the model's, set to 0 at the removed units."""
    found: dict[str, Array] = {}
    gone = np.append(removed, False)
    for name, axis in uses:
        mask = gone[channels.axes[name, axis]]
        if mask.any():
            array = found[name] if name in found else np.array(weights.get(name, own_weight(model, name)))
            np.moveaxis(array, axis, 0)[mask] = 0
            found[name] = array
    return found


def own_weight(model: ir.Model, name: str) -> Array:
    """The model's own constant."""
    array = constant_value(model.graph.initializers[name])
    assert array is not None
    return array


def _readers(
    model: ir.Model, channels: ChannelGroups, group: ChannelGroup, nodes: Mapping[str, ir.Node], *, whole: bool
) -> GroupReaders:
    layers = _fitted(group, nodes)
    own = {layer.weight.name for layer in layers}
    rest = dict.fromkeys((use.weight, use.axis) for use in group.consumers if use.weight not in own)
    if whole:
        rest |= dict.fromkeys(_constants(model, channels, group))
    weights = [value.name or "" for layer in layers for value in (layer.weight, layer.bias) if value is not None]
    weights = list(dict.fromkeys([*weights, *(name for name, _ in rest)]))
    readers = {use.node.name for name in weights for use in model.graph.initializers[name].uses()}
    first = tuple(name for name in nodes if name in readers)
    return GroupReaders(group, tuple(layers), tuple(rest), first, tuple(weights))


def _fitted(group: ChannelGroup, nodes: Mapping[str, ir.Node]) -> list[Layer]:
    layers = []
    for name in dict.fromkeys(use.node for use in group.consumers):
        uses = {(use.weight, use.axis) for use in group.consumers if use.node == name}
        node = nodes[name]
        layer = layer_of(node) if supports_moments(node) and not is_shared(node) else None
        if layer is not None and len(uses) == 1 and next(iter(uses))[0] == layer.weight.name:
            layers.append(layer)
    return layers


def _constants(model: ir.Model, channels: ChannelGroups, group: ChannelGroup) -> Iterable[tuple[str, int]]:
    """All floating-point constants with the group's units."""
    units = np.array(group.units)
    for (name, axis), labels in channels.axes.items():
        value = model.graph.initializers.get(name)
        if value is None or value.dtype is None or not value.dtype.is_floating_point():
            continue
        if name not in channels.unzeroed and np.isin(labels, units).any():
            yield name, axis


def _ends_without_weight(model: ir.Model, channels: ChannelGroups) -> set[str]:
    """Groups that some node sums over without a weight of theirs."""
    owner = np.full(channels.unit_count + 1, -1, np.intp)
    for index, group in enumerate(channels.groups):
        owner[list(group.units)] = index
    weighted = {(use.node, group.name) for group in channels.groups for use in group.consumers}
    found: set[str] = set()
    for node in model.graph:
        if node.op_type in _TAKE_PARTS:
            continue
        read = [value for value in node.inputs if value is not None and not value.is_initializer()]
        ended = _groups_of(read, channels, owner) - _groups_of(node.outputs, channels, owner)
        names = {channels.groups[index].name for index in ended}
        found |= {name for name in names if (node.name, name) not in weighted}
    return found


def _groups_of(values: Sequence[ir.Value], channels: ChannelGroups, owner: NDArray[np.intp]) -> set[int]:
    labels = [
        channels.axes[value.name or "", axis]
        for value in values
        for axis in range(0 if value.shape is None else len(value.shape))
        if (value.name or "", axis) in channels.axes
    ]
    return set(owner[np.concatenate(labels)].tolist()) - {-1} if labels else set()


def units_removed(channels: ChannelGroups, kept: Mapping[str, Collection[int]]) -> Removed:
    """The mask of units when of each named group only these (indices into its units) stay."""
    removed = np.zeros(channels.unit_count, np.bool_)
    for group in channels.groups:
        if group.name in kept:
            removed[list(group.units)] = True
            removed[np.array(group.units)[list(kept[group.name])]] = False
    return removed
