"""Union-find over the smallest pieces of channels, on whole arrays at once."""

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.intp]
"""Atom ids, in the shape of the axes that they label."""


class Atoms:
    """Integer ids that are put together and pinned; which ids ended up together is asked for with ``roots``."""

    def __init__(self) -> None:
        self._parent = np.zeros(0, dtype=np.intp)
        self._count = 0
        self._edges: list[tuple[Labels, Labels]] = []
        self._pins: list[tuple[Labels, str]] = []

    def new(self, count: int) -> Labels:
        """``count`` ids that nothing shares yet, ascending."""
        first = self._count
        self._count += count
        return np.arange(first, self._count, dtype=np.intp)

    def unify(self, left: Labels, right: Labels) -> None:
        """Put together index by index; the two broadcast."""
        left, right = np.broadcast_arrays(left, right)
        differ = left != right
        if differ.any():
            self._edges.append((left[differ], right[differ]))

    def pin(self, labels: Labels, reason: str) -> None:
        """These can never be removed, nor whatever they end up with; the earliest ``reason`` is the one told."""
        if labels.size:
            self._pins.append((np.unique(labels), reason))

    def pinned(self, count: int, reason: str) -> Labels:
        """``count`` new ids that can never be removed."""
        labels = self.new(count)
        self.pin(labels, reason)
        return labels

    def roots(self, labels: Labels) -> Labels:
        """The lowest id of everything that each label ended up with so far."""
        self._resolve()
        return self._parent[labels]

    def pinned_roots(self) -> NDArray[np.bool_]:
        """For every root whether it is pinned."""
        self._resolve()
        result = np.zeros(self._count, dtype=np.bool_)
        for labels, _ in self._pins:
            result[self._parent[labels]] = True
        return result

    def reasons(self) -> tuple[NDArray[np.intp], list[str]]:
        """For every root the index of its earliest reason, -1 where it is free; and the reasons."""
        self._resolve()
        first = np.full(self._count, len(self._pins), dtype=np.intp)
        for index, (labels, _) in enumerate(self._pins):
            roots = self._parent[labels]
            first[roots] = np.minimum(first[roots], index)
        first[first == len(self._pins)] = -1
        return first, [reason for _, reason in self._pins]

    def _resolve(self) -> None:
        """Hook the higher root to the lower one and shorten paths until every edge joins a single tree."""
        grown = np.arange(len(self._parent), self._count, dtype=np.intp)
        self._parent = np.concatenate([self._parent, grown])
        if not self._edges:
            return
        left = np.concatenate([edge[0] for edge in self._edges])
        right = np.concatenate([edge[1] for edge in self._edges])
        self._edges.clear()
        parent = self._parent
        while True:
            a, b = parent[left], parent[right]
            apart = a != b
            if not apart.any():
                break
            left, right, a, b = left[apart], right[apart], a[apart], b[apart]
            np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
            while not np.array_equal(shorter := parent[parent], parent):
                parent = shorter
        self._parent = parent
