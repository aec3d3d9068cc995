"""What a network would cost with fewer channels, without building it."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.cost import is_parameter, node_macs
from edgekit.graph.queries import attribute, is_op, shape_of
from edgekit.passes.prune.branches import Branch, term_index, unneeded
from edgekit.passes.prune.groups import ChannelGroups, Units

_Axis = tuple[str, int]


class CostModel:
    """Exact MACs and parameters of any selection; microseconds each.

    ``kept``: units kept by group name; groups that are missing keep all. ``dropped``: names of branches. A group that
    lives inside a dropped branch costs nothing whatever is kept of it.

    Every cost is a sum of products of lengths of axes, and the length of an axis is a sum over the groups in it, so
    many indices for every unit. Where the units of a group have different numbers, those of its last units are taken.
    """

    def __init__(self, model: ir.Model, groups: ChannelGroups, branches: Collection[Branch]) -> None:
        self._model = model
        self._branches = {branch.name: branch for branch in branches}
        self._nodes = {node.name: node for node in model.graph}
        self._lengths = _Lengths(groups)
        self._macs = _Sum([_mac_factors(node) for node in model.graph if node_macs(node)], self._lengths, groups)
        self._weights = _Sum([_weight_factors(value) for value in _parameters(model)], self._lengths, groups)
        self._alive: dict[frozenset[str], tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def macs(self, kept: Mapping[str, int], dropped: Collection[str] = ()) -> int:
        """Multiply-accumulates, as edgekit.graph.cost counts them."""
        return self._macs.total(self._lengths.of(kept), self._living(dropped)[0])

    def parameters(self, kept: Mapping[str, int], dropped: Collection[str] = ()) -> int:
        """Elements of the constants that are weights, as edgekit.graph.cost counts them."""
        return self._weights.total(self._lengths.of(kept), self._living(dropped)[1])

    def _living(self, dropped: Collection[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """1 for the terms of either sum that are left without these branches, else 0."""
        names = frozenset(dropped)
        if names not in self._alive:
            branches = [self._branches[name] for name in names]
            cuts = [(add := self._nodes[branch.add], term_index(add, branch)) for branch in branches]
            dead = unneeded(self._model.graph, cuts)
            macs = [node not in dead for node in self._model.graph if node_macs(node)]
            weights = [any(use.node not in dead for use in value.uses()) for value in _parameters(self._model)]
            self._alive[names] = np.array(macs, dtype=np.int64), np.array(weights, dtype=np.int64)
        return self._alive[names]


class _Lengths:
    """The lengths of labelled axes, as functions of how many units each group keeps.

    A length is a sum of entries of one flat table: for each group in the axis, how many indices its last k units have.
    """

    def __init__(self, groups: ChannelGroups) -> None:
        self._groups = {group.name: index for index, group in enumerate(groups.groups)}
        self._all = [len(group.units) for group in groups.groups]
        self._units = [np.array(group.units, dtype=np.intp) for group in groups.groups]
        self._owner = np.full(groups.unit_count + 1, -1, dtype=np.intp)
        for index, units in enumerate(self._units):
            self._owner[units] = index
        self._axes: dict[bytes, int] = {}
        # Length 0 is always 1: what products of fewer factors are filled up with.
        self._fixed = [1]
        self._table: list[int] = []
        self._entries: list[tuple[int, int, int]] = []
        self._frozen: tuple[NDArray[np.int64], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]] | None = None

    def index(self, labels: Units) -> int:
        """The place in ``of``'s array where the length of an axis with these labels stands."""
        key = np.asarray(labels, dtype=np.intp).tobytes()
        if key not in self._axes:
            self._axes[key] = self._add(np.asarray(labels, dtype=np.intp))
            self._frozen = None
        return self._axes[key]

    def _add(self, labels: Units) -> int:
        # Label -1 reads the last element, which no group owns.
        owners = self._owner[labels]
        indices = np.bincount(labels[labels >= 0], minlength=len(self._owner))
        length = len(self._fixed)
        self._fixed.append(int((owners < 0).sum()))
        for group in np.unique(owners[owners >= 0]).tolist():
            self._entries.append((length, group, len(self._table)))
            self._table.extend([0, *np.cumsum(indices[self._units[group]][::-1]).tolist()])
        return length

    def of(self, kept: Mapping[str, int]) -> NDArray[np.int64]:
        """All lengths when so many units are kept of each group."""
        fixed, lengths, groups, offsets = self._frozen or self._freeze()
        units = self._all.copy()
        for name, count in kept.items():
            units[self._groups[name]] = count
        if not len(lengths):
            return fixed
        indices = self._flat[offsets + np.array(units)[groups]]
        return fixed + np.bincount(lengths, indices, len(fixed)).astype(np.int64)

    def _freeze(self) -> tuple[NDArray[np.int64], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        columns = np.array(self._entries, dtype=np.intp).reshape(-1, 3).T
        self._flat = np.array(self._table, dtype=np.int64)
        self._frozen = (np.array(self._fixed, dtype=np.int64), columns[0], columns[1], columns[2])
        return self._frozen


class _Sum:
    """A sum over products: a number times the lengths of axes."""

    def __init__(self, terms: Sequence[tuple[int, Sequence[_Axis]]], lengths: _Lengths, groups: ChannelGroups) -> None:
        labelled = [[axis for axis in axes if axis in groups.axes] for _, axes in terms]
        width = max((len(axes) for axes in labelled), default=0)
        self._factors = np.zeros((width, len(terms)), dtype=np.intp)
        self._constants = np.zeros(len(terms), dtype=np.int64)
        for column, ((product, _), axes) in enumerate(zip(terms, labelled, strict=True)):
            full = math.prod(len(groups.axes[axis]) for axis in axes)
            self._constants[column] = product // full
            for row, axis in enumerate(axes):
                self._factors[row, column] = lengths.index(groups.axes[axis])

    def total(self, lengths: NDArray[np.int64], living: NDArray[np.int64]) -> int:
        products = self._constants * living
        for factors in self._factors:
            products *= lengths[factors]
        return int(products.sum())


def _mac_factors(node: ir.Node) -> tuple[int, list[_Axis]]:
    """The node's MACs, and the axes whose lengths multiply to them (but for a constant), as ``node_macs`` has it."""
    whole = _all_axes(node.inputs[0] if is_op(node, "ConvTranspose") else node.outputs[0])
    if is_op(node, "Conv", "ConvTranspose"):
        whole += _all_axes(node.inputs[1])[1:]
    elif is_op(node, "Gemm"):
        whole.append(_all_axes(node.inputs[0])[0 if attribute(node, "transA") else 1])
    elif is_op(node, "MatMul"):
        whole.append(_all_axes(node.inputs[0])[-1])
    else:
        # Recurrent layers are left whole.
        whole = []
    return node_macs(node), whole


def _weight_factors(value: ir.Value) -> tuple[int, list[_Axis]]:
    return math.prod(shape_of(value)), _all_axes(value)


def _all_axes(value: ir.Value | None) -> list[_Axis]:
    assert value is not None
    return [(value.name or "", axis) for axis in range(len(shape_of(value)))]


def _parameters(model: ir.Model) -> Iterable[ir.Value]:
    """What count_parameters counts of a canonical graph."""
    return (
        value
        for value in model.graph.initializers.values()
        if value.uses() and value.const_value is not None and is_parameter(value.const_value)
    )
