"""Run a float graph, or what follows some of its values, with other weights than its own.

Weights are replaced at their full shape: a removed channel is one whose consumers multiply it by zero. So moments,
prices and re-fits never need the smaller graph; it is built once, at the end.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.activations import Sample, part, read_samples, session_of
from edgekit.graph.queries import constant_value

__all__ = ["Array", "Sample", "Suffix", "Weights", "activations", "reached", "read_by", "with_weights"]

Array = NDArray[np.float32]
Weights = Mapping[str, Array]
"""By initializer name."""

_WORKERS = 2


def with_weights(model: ir.Model, weights: Weights) -> ir.Model:
    """A clone whose initializers are replaced; the arrays are not copied. KeyError where a name is no initializer."""
    clone = model.clone()
    for name, array in weights.items():
        value = clone.graph.initializers[name]
        assert value.shape is None or tuple(value.shape) == array.shape, name
        value.const_value = ir.Tensor(array, name=name)
    return clone


def activations(model: ir.Model, names: Sequence[str], samples: Iterable[Sample]) -> Iterator[list[NDArray[Any]]]:
    """The arrays of the values ``names``, sample by sample in order; only what they need is computed.

    ``names`` are of what nodes compute and of the model's inputs. Runs on two threads, one sample each, so numbers do
    not depend on the machine's load. The arrays are the caller's own; at most four samples' are alive at once.
    """
    return read_samples(model, names, samples, lambda arrays: [np.array(array) for array in arrays], _WORKERS)


class Suffix:
    """What follows some nodes: from the values that enter it to the model's outputs, with ``weights`` given per run.

    ``nodes``: names of the first nodes (all that reads a group's channels); everything behind them is computed here.
    ``weights``: names of the initializers that runs may replace (of nodes here; others have no effect). A few of them
    cost nothing against constants; with all of a network's onnxruntime takes twice as long, as it can pack and lay out
    only constants (EfficientNet-Lite1 of 65 layers: 16 ms, 16 ms with 4, 33 ms with all).
    """

    def __init__(self, model: ir.Model, nodes: Sequence[str], weights: Sequence[str]) -> None:
        inside = reached(model.graph, set(nodes))
        computed = {value for node in inside for value in node.outputs}
        read = dict.fromkeys(value for node in inside for value in read_by(node))
        variable = {name: model.graph.initializers[name] for name in weights}
        self._weights = {name: value for name, value in variable.items() if value in read}
        self._outputs = list(model.graph.outputs)
        self._computed = [value for value in self._outputs if value in computed]
        outer = [value for value in [*read, *self._outputs] if value not in computed and not value.is_initializer()]
        self._entering = list(dict.fromkeys(value for value in outer if value.graph is model.graph))
        entering = [value for value in self._entering if value in read]
        self._fed = [value.name or "" for value in entering]
        inputs = [*entering, *self._weights.values()]
        outputs = list(dict.fromkeys(self._computed))
        self._session = session_of(part(model, inputs, outputs)) if outputs else None

    @property
    def entering(self) -> tuple[str, ...]:
        """Names of the values that enter: the model's own inputs may be among them, and outputs it does not compute."""
        return tuple(value.name or "" for value in self._entering)

    def run(self, values: Mapping[str, NDArray[Any]], weights: Weights) -> list[NDArray[Any]]:
        """The model's outputs. Several threads may run at once.

        ``values`` of all that enters, for one sample; ``weights`` that are missing are the model's own. An output that
        does not depend on ``nodes`` is passed through from ``values``.
        """
        feeds = {name: np.ascontiguousarray(values[name]) for name in self._fed}
        for name, value in self._weights.items():
            feeds[name] = np.ascontiguousarray(weights[name]) if name in weights else _constant(value)
        names = [value.name or "" for value in self._computed]
        computed = {} if self._session is None else dict(zip(names, self._session.run(names, feeds), strict=True))
        return [self._output(value, computed, values) for value in self._outputs]

    def _output(
        self, value: ir.Value, computed: Mapping[str, NDArray[Any]], values: Mapping[str, NDArray[Any]]
    ) -> NDArray[Any]:
        name = value.name or ""
        if name in computed:
            return computed[name]
        return _constant(value) if value.is_initializer() else values[name]


def _constant(value: ir.Value) -> NDArray[Any]:
    array = constant_value(value)
    assert array is not None
    return array


def reached(nodes: Iterable[ir.Node], first: Collection[str]) -> list[ir.Node]:
    """Of ``nodes``, given in the graph's order, those called ``first`` and all that depend on them."""
    found: list[ir.Node] = []
    values: set[ir.Value] = set()
    for node in nodes:
        if node.name in first or any(value in values for value in read_by(node)):
            found.append(node)
            values.update(node.outputs)
    return found


def read_by(node: ir.Node) -> Iterator[ir.Value]:
    """The values that a node reads, itself or in its subgraphs."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            graph = attribute.as_graph()
            yield from graph.outputs
            for inner in graph.all_nodes():
                yield from (value for value in inner.inputs if value is not None)
