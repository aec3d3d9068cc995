"""Cut a group down to some of its units: which stay, and the weights of the layers that read them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.passes.prune.groups import ChannelGroups
from edgekit.passes.prune.layers import Layer
from edgekit.passes.prune.moments import InputMoments, weight_matrix, weights_of_matrix
from edgekit.passes.prune.network import Array
from edgekit.passes.prune.readers import GroupReaders, unit_columns
from edgekit.passes.prune.removal import Removed
from edgekit.passes.prune.surgeon import ConsumerProblem, Elimination, Unfitted, eliminate, output_energy

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cut:
    """``kept``: indices into the group's units. ``weights``: of its fitted layers, at full shape."""

    kept: NDArray[np.intp]
    weights: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class _Part:
    """One block of a layer as a problem; ``alive``: its columns that other groups have left, the bias's last."""

    layer: Layer
    problem: ConsumerProblem
    alive: NDArray[np.intp]

    def full(self, matrix: Matrix) -> Matrix:
        """At the layer's width, zero in the columns that are gone."""
        wide = np.zeros((len(matrix), self.layer.columns + 1))
        wide[:, self.alive] = matrix
        return wide


class Cutter:
    """Cuts groups of one model, which has ``channels``, on moments that are given."""

    def __init__(self, channels: ChannelGroups) -> None:
        self._channels = channels

    def cut(
        self,
        readers: GroupReaders,
        moments: Mapping[str, InputMoments],
        wanted: Collection[int],
        *,
        removed: Removed,
        order: NDArray[np.intp] | Unfitted | None,
    ) -> dict[int, Cut]:
        """The group's cut at each wanted number of units, from the model's own weights. Nothing else is zeroed.

        ``moments``: of its fitted layers, by node name. ``removed``: units of other groups that are gone already, for
        which the same layers have to make up. ``order``: units go in this order; None or Unfitted: as costs
        least.
        """
        parts = [
            part
            for layer in readers.fitted
            for part in self._parts(layer, readers, moments[layer.node.name or ""], removed)
        ]
        given, unfitted = (None, order) if isinstance(order, Unfitted) else (order, None)
        assert parts or given is not None, readers.group.name
        states = eliminate([part.problem for part in parts], wanted, order=given, unfitted=unfitted)
        return {count: self._cut(readers, parts, each) for count, each in states}

    def _cut(self, readers: GroupReaders, parts: Sequence[_Part], found: Elimination) -> Cut:
        weights: dict[str, Array] = {}
        for layer in readers.fitted:
            blocks = [
                part.full(matrix) for part, matrix in zip(parts, found.matrices, strict=True) if part.layer is layer
            ]
            weights |= weights_of_matrix(layer.node, np.stack(blocks))
        return Cut(found.kept, weights)

    def compensated(self, layer: Layer, moments: InputMoments, gone: NDArray[np.intp]) -> dict[str, Array]:
        """The layer's weights when these columns are gone."""
        matrices = weight_matrix(layer.node)
        blocks = [_without(matrix, gram, gone) for matrix, gram in zip(matrices, moments.gram, strict=True)]
        return weights_of_matrix(layer.node, np.stack(blocks))

    def _parts(self, layer: Layer, readers: GroupReaders, moments: InputMoments, removed: Removed) -> list[_Part]:
        columns = unit_columns(self._channels, readers.group, layer)
        gone = self._gone(layer, readers, removed)
        alive = np.setdiff1d(np.arange(layer.columns + 1), gone)
        ours = [np.searchsorted(alive, each[np.isin(each, alive)]) for each in columns]
        blocks = [
            (_without(matrix, gram, gone)[:, alive], gram[np.ix_(alive, alive)])
            for matrix, gram in zip(weight_matrix(layer.node), moments.gram, strict=True)
        ]
        energy = sum(output_energy(matrix, gram) for matrix, gram in blocks)
        return [_Part(layer, ConsumerProblem(matrix, gram, ours, energy), alive) for matrix, gram in blocks]

    def _gone(self, layer: Layer, readers: GroupReaders, removed: Removed) -> NDArray[np.intp]:
        """The layer's columns of removed units, but those of the group itself."""
        gone = removed.copy()
        gone[list(readers.group.units)] = False
        return removed_columns(self._channels, layer, gone)


def removed_columns(channels: ChannelGroups, layer: Layer, removed: Removed) -> NDArray[np.intp]:
    """The columns of the layer's matrix that belong to removed units."""
    axis = _input_axis(layer)
    labels = channels.axes.get((layer.weight.name or "", axis))
    if labels is None:
        return np.zeros(0, np.intp)
    kernel = layer.columns // len(labels)
    indices = np.flatnonzero(np.append(removed, False)[labels])
    return (indices[:, None] * kernel + np.arange(kernel)).reshape(-1).astype(np.intp)


def _input_axis(layer: Layer) -> int:
    """The axis of the weight that is summed over, of a convolution the channels'."""
    attribute = layer.node.attributes.get("transB")
    if layer.node.op_type == "Conv" or (attribute is not None and attribute.value):
        return 1
    return 0


def _without(matrix: Matrix, gram: Matrix, gone: NDArray[np.intp]) -> Matrix:
    if not len(gone):
        return matrix
    ((_, found),) = eliminate([ConsumerProblem(matrix, gram, [gone])], [0])
    return found.matrices[0]
