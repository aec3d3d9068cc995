"""Run the pruned and the float network side by side and sum up what the layers of one meet and should give."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgekit.graph.queries import is_op, shape_of, single_consumer
from edgekit.passes.prune.front import Front, Space
from edgekit.passes.prune.layers import Layer, layer_of
from edgekit.passes.prune.moments import InputMoments
from edgekit.passes.prune.network import Array, Sample, Weights, reached

ROWS_PER_COLUMN = 64
"""Rows wanted per unknown, from all images together; the rest of the pixels is left out.

EfficientNet-Lite1, a quarter of the channels of 8 blocks removed on 32 images, squared error on the other 31 against
that of all pixels: 4 rows 1.2 to 1.5 times (12 times in the first block), 16 rows up to 1.18, 64 rows at most 1.02.
"""
_LEAST_ROWS = 64


@dataclass(frozen=True, slots=True)
class Goal:
    """What a layer should give: the float network's ``reference`` minus the pruned network's ``other``, if any."""

    reference: ir.Value
    other: ir.Value | None

    @classmethod
    def of(cls, layer: Layer) -> "Goal":
        """The layer's own output; of the last term of an Add, the Add without the other term.

        So it makes up for what the stream has lost before. Last means that the other term is computed before it.
        """
        add = single_consumer(layer.output)
        if add is None or not is_op(add, "Add"):
            return cls(layer.output, None)
        other = add.inputs[1] if add.inputs[0] is layer.output else add.inputs[0]
        if other is None or other.is_initializer() or shape_of(other) != shape_of(layer.output):
            return cls(layer.output, None)
        if other.producer() is not None and not _comes_before(other, layer.node):
            return cls(layer.output, None)
        return cls(add.outputs[0], other)


class Collector:
    """Collects step by step along a graph, without running again what lies before the step; see ``Front``.

    ``model`` is the float network; its own weights are the reference. ``samples`` are iterable more than once. When
    their number is known (``len``), no more than `ROWS_PER_COLUMN` rows per column are read.
    """

    def __init__(self, model: ir.Model, samples: Iterable[Sample]) -> None:
        self._count = len(samples) if isinstance(samples, Sized) else None
        self._place = {node.name or "": index for index, node in enumerate(model.graph)}
        self._nodes = {node.name or "": node for node in model.graph}
        space = Space()
        self._measured = Front(model, samples, space)
        self._reference = Front(model, samples, space)

    def collect(
        self, weights: Weights, nodes: Sequence[str], *, targets: bool = False, keep: bool = True
    ) -> dict[str, InputMoments]:
        """The moments of the inputs of ``nodes`` in the network with ``weights``, by node name.

        Args:
            weights: of the network measured now: the pruned prefix. Missing ones are the model's own.
            nodes: names of nodes that ``supports_moments`` accepts. They may follow each other: all are measured as
                the weights are now.
            targets: also sum a tᵀ, where t is what the float network gives at the node, bias included; see ``Goal``.
            keep: whether later steps start here.
        """
        found = [self._nodes[name] for name in nodes]
        moments = [InputMoments.of(node, targets=targets, most_rows=most_rows(node, self._count)) for node in found]
        goals = [Goal.of(each.layer) for each in moments] if targets else []
        if keep and nodes:
            place = min(self._place[name] for name in nodes)
            self._measured.move(place, weights)
            if targets:
                self._reference.move(place, {})
        for sources, aims in self._sides(weights, [each.layer.source for each in moments], goals):
            for index, each in enumerate(moments):
                each.update(sources[index], aims[index] if targets else None)
        return dict(zip(nodes, moments, strict=True))

    def _sides(
        self, weights: Weights, sources: Sequence[ir.Value], goals: Sequence[Goal]
    ) -> Iterator[tuple[list[Array], list[Array]]]:
        """Sample by sample the inputs in the network with ``weights``, and what the layers should give."""
        here = _unique([*sources, *(goal.other for goal in goals)])
        there = _unique(goal.reference for goal in goals)
        reference = self._reference.read(there, {}) if goals else None
        for arrays in self._measured.read(here, weights):
            values = dict(zip(here, arrays, strict=True))
            exact = {} if reference is None else dict(zip(there, next(reference), strict=True))
            yield [values[value.name or ""] for value in sources], [_aim(goal, exact, values) for goal in goals]


def collect(
    model: ir.Model, weights: Weights, nodes: Sequence[str], samples: Iterable[Sample], *, targets: bool = False
) -> dict[str, InputMoments]:
    """One step of a ``Collector``: the moments of the inputs of ``nodes`` in ``model`` with ``weights``.

    ``samples`` are iterated once, or twice at the same time with ``targets``.
    """
    return Collector(model, samples).collect(weights, nodes, targets=targets, keep=False)


def most_rows(node: ir.Node, samples: int | None) -> int | None:
    """How many output positions of each image are read so that there are `ROWS_PER_COLUMN`; None: all."""
    layer = layer_of(node)
    if layer is None or not samples:
        return None
    images = samples * (shape_of(layer.source)[0] if node.op_type == "Conv" else 1)
    return max(-(-ROWS_PER_COLUMN * layer.columns // images), _LEAST_ROWS)


def _aim(goal: Goal, exact: Mapping[str, Array], measured: Mapping[str, Array]) -> Array:
    found = exact[goal.reference.name or ""]
    return found if goal.other is None else np.asarray(found - measured[goal.other.name or ""])


def batches(layers: Iterable[Layer]) -> Iterator[list[Layer]]:
    """Layers, given in the graph's order, in runs whose inputs and goals do not depend on each other's outputs."""
    batch: list[Layer] = []
    changed: set[ir.Value] = set()
    for layer in layers:
        goal = Goal.of(layer)
        needs = [layer.source] if goal.other is None else [layer.source, goal.other]
        if any(value in changed for value in needs):
            yield batch
            batch, changed = [], set()
        batch.append(layer)
        graph = layer.node.graph
        assert graph is not None
        changed.update(value for node in reached(graph, {layer.node.name or ""}) for value in node.outputs)
    if batch:
        yield batch


def _comes_before(value: ir.Value, node: ir.Node) -> bool:
    producer = value.producer()
    assert node.graph is not None
    for each in node.graph:
        if each is producer or each is node:
            return each is producer
    return False


def _unique(values: Iterable[ir.Value | None]) -> list[str]:
    return list(dict.fromkeys(value.name or "" for value in values if value is not None))
