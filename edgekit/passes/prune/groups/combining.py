"""How the axes of several inputs go together when a node computes element by element, with ONNX broadcasting."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.queries import is_constant
from edgekit.passes.prune.groups.tracking import Block, Blocks, Flags, Follows, Tracker, described, dims

ZeroRule = Callable[[Sequence[Flags]], "Flags | bool"]
"""From where each input is exactly zero to where the output is."""


@dataclass(frozen=True, slots=True)
class Operand:
    """One input: its shape, and its blocks where it is no constant (``value`` says where it comes from)."""

    value: ir.Value
    shape: tuple[int, ...]
    blocks: Blocks
    constant: bool

    @classmethod
    def of(cls, tracker: Tracker, value: ir.Value) -> "Operand":
        """A node's input as it is."""
        return cls(value, dims(value), tracker.of(value), is_constant(value))


def combine(
    tracker: Tracker, node: ir.Node, operands: Sequence[Operand], shape: Sequence[int], zero: ZeroRule
) -> list[Block]:
    """The output's blocks. Inputs are aligned at their last axes; constants follow what they are combined with."""
    aligned = [_Aligned(operand, shape) for operand in operands]
    blocks = []
    for axes in _components([block.axes for operand in aligned for block in operand.blocks]):
        block = _join(tracker, node, aligned, axes, shape, zero)
        if block is not None:
            blocks.append(block)
    blocks += _of_constants(tracker, aligned, shape, zero)
    for operand in aligned:
        if operand.operand.constant:
            tracker.follow(operand.operand.value, *operand.follows)
    return blocks


def _of_constants(
    tracker: Tracker,
    aligned: "Sequence[_Aligned]",
    shape: Sequence[int],
    zero: ZeroRule,
) -> Iterator[Block]:
    """Axes that only vectors have: [1, 1] * [1, C]. No weight makes these channels, but they may meet some."""
    for axis, size in enumerate(shape):
        wide = [operand.wide(axis) for operand in aligned]
        if size == 1 or not all(operand.is_vector() for w, operand in zip(wide, aligned, strict=True) if w):
            continue
        labels = tracker.atoms.new(size)
        for operand, w in zip(aligned, wide, strict=True):
            if w:
                operand.follows.append(Follows((axis - operand.offset,), labels))
        zeros = [np.full(size, w and operand.is_zeroed(tracker)) for operand, w in zip(aligned, wide, strict=True)]
        yield Block((axis,), labels, np.broadcast_to(np.asarray(zero(zeros)), (size,)))


class _Aligned:
    """An operand whose axes are counted as the output's; what it follows if it is constant."""

    def __init__(self, operand: Operand, shape: Sequence[int]) -> None:
        self.operand = operand
        self.follows: list[Follows] = []
        self.offset = len(shape) - len(operand.shape)
        self.blocks = [block.moved([axis + self.offset for axis in block.axes]) for block in operand.blocks]

    def wide(self, axis: int) -> bool:
        return axis >= self.offset and self.operand.shape[axis - self.offset] > 1

    def is_vector(self) -> bool:
        return self.operand.constant and max(self.operand.shape) == math.prod(self.operand.shape)

    def is_zeroed(self, tracker: Tracker) -> bool:
        return self.operand.value.name not in tracker.unzeroed

    def uncovered(self, axes: Iterable[int]) -> set[int]:
        covered = {axis for block in self.blocks for axis in block.axes}
        return {axis for axis in axes if self.wide(axis) and axis not in covered}


def _components(axes: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Sets of axes that some block joins."""
    components: list[set[int]] = []
    for group in axes:
        joined = set(group)
        rest = []
        for other in components:
            if other & joined:
                joined |= other
            else:
                rest.append(other)
        components = [*rest, joined]
    return sorted(tuple(sorted(component)) for component in components)


def _join(
    tracker: Tracker,
    node: ir.Node,
    aligned: Sequence[_Aligned],
    axes: tuple[int, ...],
    shape: Sequence[int],
    zero: ZeroRule,
) -> Block | None:
    activations = [operand for operand in aligned if not operand.operand.constant]
    lost: set[int] = set()
    reason = ""
    for operand in activations:
        if uncovered := operand.uncovered(axes):
            reason = reason or f"{described(node)} combines it with {tracker.origin(operand.operand.value)}"
            lost |= uncovered
    left = [tracker.keeping(tuple(b for b in a.blocks if set(b.axes) <= set(axes)), lost, reason) for a in aligned]
    kept = tuple(axis for axis in axes if axis not in lost)
    found = [block for blocks in left for block in blocks]
    if not kept or not found:
        return None
    if any(len(blocks) > 1 for blocks in left):
        tracker.pin(found, f"{described(node)} combines channels of two axes with channels of one")
        return None
    size = tuple(shape[axis] for axis in kept)
    labels = np.broadcast_to(_spread(found[0], kept, found[0].labels), size)
    for block in found[1:]:
        tracker.atoms.unify(labels, _spread(block, kept, block.labels))
    zeros = [_zero_of(tracker, operand, blocks, kept, size) for operand, blocks in zip(aligned, left, strict=True)]
    for operand in aligned:
        if operand.operand.constant and any(operand.wide(axis) for axis in kept):
            own = tuple(axis - operand.offset if operand.wide(axis) else None for axis in kept)
            operand.follows.append(Follows(own, labels))
    return Block(kept, labels, np.broadcast_to(np.asarray(zero(zeros)), size))


def _spread(block: Block, axes: Sequence[int], array: NDArray[Any]) -> NDArray[Any]:
    """The block's array with an axis for each of ``axes``."""
    return np.expand_dims(array, tuple(p for p, axis in enumerate(axes) if axis not in block.axes))


def _zero_of(tracker: Tracker, operand: _Aligned, blocks: Blocks, axes: Sequence[int], size: tuple[int, ...]) -> Flags:
    if operand.operand.constant:
        return np.full(size, operand.is_zeroed(tracker) and all(operand.wide(axis) for axis in axes))
    if not blocks:
        return np.zeros(size, dtype=np.bool_)
    return np.broadcast_to(_spread(blocks[0], axes, blocks[0].zero), size)
