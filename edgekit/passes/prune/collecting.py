"""Run the pruned and the float network side by side and sum up what the layers of one meet and should give."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgekit.graph.queries import is_op, shape_of, single_consumer
from edgekit.passes.prune.layers import Layer, layer_of
from edgekit.passes.prune.moments import InputMoments
from edgekit.passes.prune.network import Array, Sample, Weights, activations, reached, with_weights

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


def collect(
    model: ir.Model, weights: Weights, nodes: Sequence[str], samples: Iterable[Sample], *, targets: bool = False
) -> dict[str, InputMoments]:
    """The moments of the inputs of ``nodes`` in ``model`` with ``weights``, by node name.

    Args:
        model: the float network; its own weights are the reference.
        weights: of the network measured now: the pruned prefix. Missing ones are the model's own.
        nodes: names of nodes that ``supports_moments`` accepts. They may follow each other: all are measured as the
            weights are now.
        samples: iterated once (twice at the same time with ``targets``). When their number is known (``len``), no more
            than `ROWS_PER_COLUMN` rows per column are read.
        targets: also sum a tᵀ, where t is what the float network gives at the node, bias included; see ``Goal``.
    """
    by_name = {node.name or "": node for node in model.graph if node.name in set(nodes)}
    count = len(samples) if isinstance(samples, Sized) else None
    moments = {
        name: InputMoments.of(by_name[name], targets=targets, most_rows=most_rows(by_name[name], count))
        for name in nodes
    }
    layers = {name: each.layer for name, each in moments.items()}
    for sources, aims in sides(model, weights, layers, samples, targets=targets):
        for name, each in moments.items():
            each.update(sources[name], aims.get(name))
    return moments


def most_rows(node: ir.Node, samples: int | None) -> int | None:
    """How many output positions of each image are read so that there are `ROWS_PER_COLUMN`; None: all."""
    layer = layer_of(node)
    if layer is None or not samples:
        return None
    images = samples * (shape_of(layer.source)[0] if node.op_type == "Conv" else 1)
    return max(-(-ROWS_PER_COLUMN * layer.columns // images), _LEAST_ROWS)


def sides(
    model: ir.Model, weights: Weights, layers: Mapping[str, Layer], samples: Iterable[Sample], *, targets: bool = True
) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
    """Sample by sample the input of each layer in the network with ``weights``, and what the layer should give."""
    goals = {name: Goal.of(layer) for name, layer in layers.items()} if targets else {}
    here = _unique([*(layer.source for layer in layers.values()), *(goal.other for goal in goals.values())])
    there = _unique(goal.reference for goal in goals.values())
    measured = activations(with_weights(model, weights), here, samples)
    reference = activations(model, there, samples) if targets else None
    for arrays in measured:
        values = dict(zip(here, arrays, strict=True))
        sources = {name: values[layer.source.name or ""] for name, layer in layers.items()}
        if reference is None:
            yield sources, {}
        else:
            exact = dict(zip(there, next(reference), strict=True))
            yield sources, {name: _aim(goal, exact, values) for name, goal in goals.items()}


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
