"""Permutation labels: how a tensor of the file lies in memory compared with its ONNX value.

A label ``p`` says ``tensor.shape[i] == value.shape[p[i]]``: physical axis ``i`` holds logical axis ``p[i]``. The
identity is the source layout, ``channels_last(4) == (0, 2, 3, 1)`` is NHWC for an NCHW value.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Permutation = tuple[int, ...]
Shape = tuple[int, ...]


def identity(rank: int) -> Permutation:
    """The source layout."""
    return tuple(range(rank))


def channels_last(rank: int) -> Permutation:
    """Batch first, channels last: (0, 2, ..., rank - 1, 1); the identity below rank 3."""
    return identity(rank) if rank < 3 else (0, *range(2, rank), 1)


def permuted(shape: Sequence[int], permutation: Permutation) -> Shape:
    """The physical shape of a value of logical ``shape``."""
    return tuple(shape[axis] for axis in permutation)


def moves(source: Permutation, target: Permutation) -> Permutation:
    """The axes of the transpose that turns a tensor labelled ``source`` into one labelled ``target``."""
    return tuple(source.index(axis) for axis in target)


def transposed(label: Permutation, axes: Sequence[int]) -> Permutation:
    """The label of Transpose(value, perm=axes) when the tensor stays where it is."""
    return tuple(list(axes).index(axis) for axis in label)


def moves_only_units(shape: Sequence[int], axes: Sequence[int]) -> bool:
    """Whether transposing a tensor of physical ``shape`` by ``axes`` leaves its memory as it is."""
    kept = [axis for axis in axes if shape[axis] != 1]
    return kept == sorted(kept)


def with_last(label: Permutation, axis: int) -> Permutation:
    """``label`` with logical ``axis`` moved to the last physical place."""
    return (*(a for a in label if a != axis), axis)


def without(label: Permutation, axes: Sequence[int]) -> Permutation:
    """The label after logical ``axes`` are removed from the value and from the tensor."""
    kept = [axis for axis in range(len(label)) if axis not in axes]
    return tuple(kept.index(axis) for axis in label if axis not in axes)


def broadcast(label: Permutation, rank: int) -> Permutation:
    """The label of the same tensor seen as a value of larger ``rank`` with leading unit axes (numpy broadcasting)."""
    extra = rank - len(label)
    return (*range(extra), *(axis + extra for axis in label))


@dataclass(frozen=True, slots=True)
class ReshapePlan:
    """Bring the input to label ``source``, reshape it to ``shape``, and the result has label ``result``."""

    source: Permutation
    shape: Shape
    result: Permutation


def plan_reshape(before: Sequence[int], after: Sequence[int], label: Permutation) -> ReshapePlan:
    """Plan Reshape(before -> after) of a tensor labelled ``label`` with as little movement as possible.

    Logical dimensions fall into the finest groups of equal product. Groups may lie in any physical order; the axes
    inside one must be adjacent and in logical order. ``source`` equals ``label`` when they already are.
    """
    groups = _groups(before, after)
    groups.sort(key=lambda group: min(label.index(axis) for axis in group[0]))
    inner = [axis for group in groups for axis in group[0]]
    produced = [axis for group in groups for axis in group[1]]
    in_place = inner == [axis for axis in label if before[axis] != 1]
    source = label if in_place else _insert_units(inner, len(before))
    result = _insert_units(produced, len(after))
    return ReshapePlan(source, permuted(after, result), result)


def _groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    left = [axis for axis, size in enumerate(before) if size != 1]
    right = [axis for axis, size in enumerate(after) if size != 1]
    groups: list[tuple[list[int], list[int]]] = []
    while left:
        group: tuple[list[int], list[int]] = ([left.pop(0)], [right.pop(0)])
        have, want = before[group[0][0]], after[group[1][0]]
        while have != want:
            if have < want:
                group[0].append(left.pop(0))
                have *= before[group[0][-1]]
            else:
                group[1].append(right.pop(0))
                want *= after[group[1][-1]]
        groups.append(group)
    return groups


def _insert_units(order: list[int], rank: int) -> Permutation:
    """A label whose non-unit axes lie in ``order``: the identity or channels last when one of them fits."""
    for candidate in (identity(rank), channels_last(rank)):
        if [axis for axis in candidate if axis in order] == order:
            return candidate
    label = list(order)
    for axis in range(rank - 1, -1, -1):
        if axis not in order:
            label.insert(label.index(axis + 1) if axis + 1 in label else len(label), axis)
    return tuple(label)
