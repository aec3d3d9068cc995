"""A network that is run up to a place once: what is read behind it starts there, not at the inputs."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.activations import part
from edgekit.graph.queries import shape_of
from edgekit.passes.prune.network import Array, Sample, Weights, activations, read_by, with_weights

MOST_BYTES = 1 << 28
"""Of the values kept for all samples together; where they would take more the front stays where it is."""


@dataclass
class Space:
    """Bytes that several fronts may still keep."""

    free: int = MOST_BYTES


class Front:
    """The values that cross a place in the graph's order, for every sample, and how to go on from there.

    Sound whatever is asked for: a place further back, or another weight before the place, starts at the inputs again.
    ``samples`` are iterable more than once; without a known number (``len``) nothing is kept. ``space`` may be shared.
    """

    def __init__(self, model: ir.Model, samples: Iterable[Sample], space: Space | None = None) -> None:
        self._model = model
        self._samples = samples
        self._space = Space() if space is None else space
        self._nodes = list(model.graph)
        self._held = 0
        self._reset()

    def _reset(self) -> None:
        self._space.free += self._held
        self._held = 0
        self._place = 0
        self._kept: Iterable[Sample] = self._samples
        self._crossing: list[ir.Value] = list(self._model.graph.inputs)
        self._used: dict[str, Array | None] = {}

    @property
    def place(self) -> int:
        """The number of nodes that are not run again."""
        return self._place

    def move(self, place: int, weights: Weights) -> None:
        """Go to before the node at ``place`` (its index in the graph), if what crosses there is not too large."""
        changed = any(not _same(weights.get(name), array) for name, array in self._used.items())
        if changed or place < self._place:
            self._reset()
        crossing = _crossing(self._nodes, place)
        count = len(self._samples) if isinstance(self._samples, Sized) else 0
        size = _bytes(crossing) * count
        if not count or place == self._place or size > self._space.free + self._held:
            return
        names = [value.name or "" for value in crossing]
        going = self._read(names, weights, _drained(self._kept) if isinstance(self._kept, deque) else self._kept)
        self._reset()
        kept = deque(dict(zip(names, arrays, strict=True)) for arrays in going)
        read = {value.name or "" for node in self._nodes[:place] for value in read_by(node) if value.is_initializer()}
        self._used = {name: weights.get(name) for name in read}
        self._place, self._kept, self._crossing = place, kept, crossing
        self._held = size
        self._space.free -= size

    def read(self, names: Sequence[str], weights: Weights) -> Iterator[list[NDArray[Any]]]:
        """As ``activations``: of values that cross the place or are computed behind it."""
        return self._read(names, weights, self._kept)

    def _read(self, names: Sequence[str], weights: Weights, kept: Iterable[Sample]) -> Iterator[list[NDArray[Any]]]:
        known = {value.name for value in self._crossing}
        if all(name in known for name in names):
            return ([np.asarray(sample[name]) for name in names] for sample in kept)
        return activations(self._rest(set(names) - known, weights), names, kept)

    def _rest(self, names: set[str], weights: Weights) -> ir.Model:
        values = [value for node in self._nodes[self._place :] for value in node.outputs if value.name in names]
        rest = part(self._model, self._crossing, values)
        own = {name: array for name, array in weights.items() if name in rest.graph.initializers}
        return with_weights(rest, own)


def _drained(kept: deque[Sample]) -> Iterator[Sample]:
    """Each is let go once it is read: what is kept before and behind a move is never there twice."""
    while kept:
        yield kept.popleft()


def _crossing(nodes: Sequence[ir.Node], place: int) -> list[ir.Value]:
    """What nodes from ``place`` on read and nodes before it, or the model's inputs, give."""
    later = {value for node in nodes[place:] for value in node.outputs}
    read = dict.fromkeys(value for node in nodes[place:] for value in read_by(node))
    graph = nodes[0].graph if nodes else None
    return [value for value in read if value not in later and not value.is_initializer() and value.graph is graph]


def _bytes(values: Iterable[ir.Value]) -> int:
    return math.ceil(sum(math.prod(shape_of(value)) * (value.dtype or ir.DataType.FLOAT).itemsize for value in values))


def _same(left: Array | None, right: Array | None) -> bool:
    return left is right or (left is not None and right is not None and np.array_equal(left, right))
