"""After the walk: what is split over two axes becomes rectangular, and all uses of a constant agree."""

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.passes.prune.groups.atoms import Labels
from edgekit.passes.prune.groups.tracking import Follows, Tracker


def settle(tracker: Tracker) -> None:
    """Unify and pin until every value can lose whole indices of single axes; each round only adds, so it ends."""
    while _make_rectangular(tracker) or _agree_on_constants(tracker):
        pass


def settled_axes(tracker: Tracker) -> dict[tuple[ir.Value, int], Labels]:
    """Labels along every single axis of every value that has any, once settled."""
    result = {}
    for value, blocks in tracker.blocks.items():
        for block in blocks:
            position = _uniform_position(tracker, block.labels)
            assert position is not None
            result[value, block.axes[position]] = _line(block.labels, position)
    for constant, uses in tracker.constants.items():
        for follows in uses:
            result.update({(constant, axis): labels for axis, labels in _settled(tracker, follows)})
    return result


def roots_and_free(tracker: Tracker, labels: Labels) -> NDArray[np.intp]:
    """The root of every label, -1 where it is pinned."""
    roots = tracker.atoms.roots(labels)
    return np.where(tracker.atoms.pinned_roots()[roots], -1, roots)


def _make_rectangular(tracker: Tracker) -> bool:
    changed = False
    for labels in _joint_labels(tracker):
        if _uniform_position(tracker, labels) is None:
            # The longer axis keeps its freedom: the same channels in each block (channel shuffle).
            position = max(range(labels.ndim), key=lambda p: (labels.shape[p], p))
            others = tuple(p for p in range(labels.ndim) if p != position)
            tracker.atoms.unify(
                labels, labels[tuple(slice(0, 1) if p in others else slice(None) for p in range(labels.ndim))]
            )
            changed = True
    return changed


def _joint_labels(tracker: Tracker) -> Iterator[Labels]:
    for blocks in tracker.blocks.values():
        yield from (block.labels for block in blocks if block.labels.ndim > 1)
    for uses in tracker.constants.values():
        yield from (entry.labels for follows in uses for entry in follows if entry.labels.ndim > 1)


def _uniform_position(tracker: Tracker, labels: Labels) -> int | None:
    """The position of the axis that alone decides what is removed."""
    if labels.ndim == 1:
        return 0
    roots = roots_and_free(tracker, labels)
    for position in sorted(range(labels.ndim), key=lambda p: labels.shape[p], reverse=True):
        line = roots[tuple(slice(None) if p == position else slice(0, 1) for p in range(labels.ndim))]
        if (roots == line).all():
            return position
    return None


def _line(labels: Labels, position: int) -> Labels:
    index = tuple(slice(None) if p == position else 0 for p in range(labels.ndim))
    return np.asarray(labels[index])


def _settled(tracker: Tracker, follows: tuple[Follows, ...]) -> Iterator[tuple[int, Labels]]:
    """The constant's axes that this use shortens."""
    for entry in follows:
        position = _uniform_position(tracker, entry.labels)
        axis = None if position is None else entry.axes[position]
        if position is not None and axis is not None:
            yield axis, _line(entry.labels, position)


def _agree_on_constants(tracker: Tracker) -> bool:
    """An axis that one use keeps as it is, is kept by all; two uses that shorten it shorten it alike."""
    changed = False
    for constant, uses in tracker.constants.items():
        if len(uses) < 2:
            continue
        lines = [dict(_settled(tracker, follows)) for follows in uses]
        for axis in sorted({axis for line in lines for axis in line}):
            changed |= _agree(tracker, constant, [line.get(axis) for line in lines])
    return changed


def _agree(tracker: Tracker, constant: ir.Value, lines: list[Labels | None]) -> bool:
    found = [roots_and_free(tracker, line) for line in lines if line is not None]
    labels = [line for line in lines if line is not None]
    if len(found) < len(lines):
        if all((roots == -1).all() for roots in found):
            return False
        for line in labels:
            tracker.atoms.pin(line, f"the constant {constant.name!r} is also read where it must keep its length")
        return True
    if all((roots == found[0]).all() for roots in found):
        return False
    for line in labels[1:]:
        tracker.atoms.unify(labels[0], line)
    return True
