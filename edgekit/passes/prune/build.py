"""Build a selection: one walk in the graph's order, each layer solved on what the pruned layers before it give."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.cost import count_macs, node_macs
from edgekit.passes.prune.branches import Branch
from edgekit.passes.prune.collecting import Collector, batches
from edgekit.passes.prune.cutting import Cutter, removed_columns
from edgekit.passes.prune.groups import ChannelGroups
from edgekit.passes.prune.layers import Layer
from edgekit.passes.prune.moments import InputMoments
from edgekit.passes.prune.network import Array, Sample, Weights
from edgekit.passes.prune.readers import GroupReaders, find_readers, own_weight, units_removed, zeroed
from edgekit.passes.prune.removal import Removed
from edgekit.passes.prune.samples import evenly
from edgekit.passes.prune.selection import Selection
from edgekit.passes.prune.surgeon import Unfitted

Orders = Mapping[str, NDArray[np.intp] | Unfitted]
"""By group: its units, the first to go first. Others, missing or Unfitted, are ordered while they are eliminated."""

MOST_MACS = 5e12
"""Multiply-accumulates that a walk may spend on statistics: about a minute. Larger networks see fewer samples."""
_LEAST_SAMPLES = 32


@dataclass(frozen=True)
class Network:
    """A canonical float model and what can be removed from it."""

    model: ir.Model
    channels: ChannelGroups
    branches: Sequence[Branch]
    readers: Mapping[str, GroupReaders] = field(init=False)
    cutter: Cutter = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "readers", find_readers(self.model, self.channels))
        object.__setattr__(self, "cutter", Cutter(self.channels))

    def branch(self, name: str) -> Branch:
        """The branch called ``name``."""
        return next(branch for branch in self.branches if branch.name == name)

    def dropped_weights(self, dropped: Iterable[str]) -> dict[str, Array]:
        """Zeros for the constants that make these branches zero."""
        names = (name for branch in dropped for name in self.branch(branch).weights)
        return {name: np.zeros_like(own_weight(self.model, name)) for name in names}

    def voters(self, name: str, dropped: Iterable[str]) -> GroupReaders:
        """The readers of a group without the fitted layers of dropped branches: what those lose costs nothing.

        All of them when nothing else is left to choose the channels by.
        """
        readers = self.readers[name]
        dead = {node for branch in dropped for node in self.branch(branch).nodes}
        fitted = tuple(layer for layer in readers.fitted if layer.node.name not in dead)
        return replace(readers, fitted=fitted) if fitted else readers

    def zeroed(self, weights: Weights, removed: Removed) -> dict[str, Array]:
        """Those of ``weights`` that have removed units where constants only lose them, with zeros there."""
        uses = dict.fromkeys(use for readers in self.readers.values() for use in readers.zeroed if use[0] in weights)
        return zeroed(self.model, self.channels, uses, removed, weights)


@dataclass(frozen=True, slots=True)
class Built:
    """The full-size network with its removed units and branches: ``weights`` that differ from the model's.

    ``solved``: those that were solved anew, as they were before removed units and branches were zeroed in them: what
    comes back has these.
    """

    weights: Mapping[str, Array]
    removed: Removed
    dropped: frozenset[str] = frozenset()
    solved: Mapping[str, Array] = field(default_factory=dict)


def whole(network: Network) -> Built:
    """Nothing is removed."""
    return Built({}, np.zeros(network.channels.unit_count, np.bool_))


def build(network: Network, selection: Selection, samples: Sequence[Sample], orders: Orders) -> Built:
    """The network with ``selection`` removed, fitted on ``samples`` (none: channels are only zeroed, by ``orders``)."""
    return _Walk(network, selection, orders).built(samples)


class _Walk:
    """The state of one walk."""

    def __init__(self, network: Network, selection: Selection, orders: Orders) -> None:
        self._network = network
        self._selection = selection
        self._orders = orders
        self._kept: dict[str, NDArray[np.intp]] = {}
        self._solved: dict[str, Array] = {}
        self._weights: dict[str, Array] = network.dropped_weights(selection.dropped)
        self._readers = [reader for name, reader in network.readers.items() if name in selection.kept]
        self._removed = units_removed(network.channels, {})

    def built(self, samples: Sequence[Sample]) -> Built:
        layers = self._layers() if samples else []
        for reader in self._readers:
            if not samples or not reader.fitted:
                self._decide(reader, {})
        collector = Collector(self._network.model, evenly(samples, affordable_samples(self._network.model, layers)))
        for step in batches(layers):
            self._solve(step, collector)
        return Built(self._weights, self._removed, self._selection.dropped, self._solved)

    def _layers(self) -> list[Layer]:
        """What is solved, in the graph's order."""
        layers = {layer.node: layer for reader in self._readers for layer in reader.fitted}
        return [layers[node] for node in self._network.model.graph if node in layers]

    def _solve(self, step: Sequence[Layer], collector: Collector) -> None:
        """Decide the groups that these layers are the first to read, then solve the layers for all that is gone."""
        names = {layer.node.name for layer in step}
        due = [
            reader
            for reader in self._readers
            if reader.group.name not in self._kept and any(layer.node.name in names for layer in reader.fitted)
        ]
        read = [layer.node.name or "" for reader in due for layer in reader.fitted]
        nodes = list(dict.fromkeys([*(layer.node.name or "" for layer in step), *read]))
        moments = collector.collect(self._weights, nodes)
        for reader in due:
            self._decide(reader, moments)
        for layer in step:
            columns = removed_columns(self._network.channels, layer, self._removed)
            self._solved |= self._network.cutter.compensated(layer, moments[layer.node.name or ""], columns)
        self._weights |= self._solved
        # A layer in a dropped branch has been solved, too.
        self._weights |= self._network.dropped_weights(self._selection.dropped)
        self._zero()

    def _decide(self, reader: GroupReaders, moments: Mapping[str, InputMoments]) -> None:
        name = reader.group.name
        wanted, order = self._selection.kept[name], self._orders.get(name)
        if moments:
            voters = self._network.voters(name, self._selection.dropped)
            cut = self._network.cutter.cut(voters, moments, [wanted], removed=self._removed, order=order)[wanted]
            self._kept[name] = cut.kept
        else:
            assert isinstance(order, np.ndarray), name
            self._kept[name] = np.sort(order[len(order) - wanted :])
        self._removed = units_removed(self._network.channels, self._kept)
        if not moments:
            self._zero(reader)

    def _zero(self, reader: GroupReaders | None = None) -> None:
        """Constants that only lose columns; without statistics (``reader``) those of its fitted layers too."""
        uses = [use for each in self._readers if each.group.name in self._kept for use in each.zeroed]
        if reader is not None:
            uses += [(use.weight, use.axis) for use in reader.group.consumers]
        network = self._network
        self._weights |= zeroed(network.model, network.channels, uses, self._removed, self._weights)


def affordable_samples(model: ir.Model, layers: Sequence[Layer]) -> int:
    """How many samples a walk that solves these layers may see."""
    # The products of rows: a layer's own number, times columns over outputs.
    products = (node_macs(layer.node) * (layer.columns + 1) // max(1, layer.outputs) for layer in layers)
    # Steps go on where the last one was, but for what does not fit into memory.
    return max(_LEAST_SAMPLES, int(MOST_MACS / max(1, 2 * count_macs(model) + sum(products))))
