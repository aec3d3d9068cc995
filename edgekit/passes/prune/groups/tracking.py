"""What is known of every value while a graph is walked: which atoms lie along which axes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.queries import is_constant, shape_of
from edgekit.passes.prune.groups.atoms import Atoms, Labels
from edgekit.passes.prune.groups.channels import WeightUse

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Block:
    """Atoms along ``axes`` (ascending, all longer than 1) of a value, jointly: ``labels`` has these axes' shape.

    More than one axis: a channel axis that a Reshape split. ``zero``: where the value is exactly 0 once the constants
    of the atom there are 0. Blocks of one value share no axis; an axis without a block is never shortened.
    """

    axes: tuple[int, ...]
    labels: Labels
    zero: Flags

    def moved(self, axes: Sequence[int]) -> "Block":
        """The same along other axes, given in the order of ``self.axes``."""
        order = np.argsort(axes)
        return Block(tuple(sorted(axes)), self.labels.transpose(order), self.zero.transpose(order))

    def with_zero(self, zero: "Flags | bool") -> "Block":
        """The same labels with other knowledge about zeros."""
        return Block(self.axes, self.labels, np.broadcast_to(np.asarray(zero), self.labels.shape))


Blocks = tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Follows:
    """A constant's axes that go with labels: one for each axis of ``labels``, None where the constant lacks it."""

    axes: tuple[int | None, ...]
    labels: Labels


@dataclass(slots=True)
class Tracker:
    """The state of the walk. Rules read the blocks of a node's inputs and set those of its outputs.

    ``unzeroed``: names of the constants that ``zero`` leaves as they are, known before the walk.
    """

    atoms: Atoms = field(default_factory=Atoms)
    blocks: dict[ir.Value, Blocks] = field(default_factory=dict)
    origins: dict[ir.Value, str] = field(default_factory=dict)
    producers: list[WeightUse] = field(default_factory=list)
    consumers: list[WeightUse] = field(default_factory=list)
    constants: dict[ir.Value, list[tuple[Follows, ...]]] = field(default_factory=dict)
    unzeroed: set[str] = field(default_factory=set)

    def of(self, value: ir.Value | None) -> Blocks:
        """The blocks of a value, none for constants."""
        return () if value is None else self.blocks.get(value, ())

    def set(self, value: ir.Value, blocks: Iterable[Block | None]) -> None:
        """Record the blocks of a node's output; axes of length 1 must not be among them."""
        self.blocks[value] = tuple(sorted((b for b in blocks if b is not None), key=lambda block: block.axes))

    def origin(self, value: ir.Value) -> str:
        """Where a value's axes without atoms come from, as part of a sentence."""
        return self.origins.get(value, f"{value.name!r}")

    def fresh(self, axis: int, count: int, *, zero: bool = True) -> Block | None:
        """New channels along ``axis``; None when there is only one, which is never removed."""
        if count < 2:
            return None
        return Block((axis,), self.atoms.new(count), np.full(count, zero))

    def fixed(self, axis: int, count: int, reason: str) -> Block:
        """Channels along ``axis`` that are never removed."""
        return Block((axis,), self.atoms.pinned(count, reason), np.zeros(count, dtype=np.bool_))

    def pin(self, blocks: Iterable[Block], reason: str) -> None:
        """Nothing of these is ever removed."""
        for block in blocks:
            self.atoms.pin(block.labels, reason)

    def follow(self, constant: ir.Value, *follows: Follows) -> None:
        """One use of a constant: these axes go with labels, its other axes keep their length because of this use."""
        self.constants.setdefault(constant, []).append(follows)

    def follow_weights(self, constant: ir.Value, *follows: Follows) -> None:
        """As ``follow``, of weights that must be zero where channels are removed."""
        if constant.name in self.unzeroed:
            for entry in follows:
                self.atoms.pin(entry.labels, f"something is divided by {constant.name!r}, so it is never set to zero")
        self.follow(constant, *follows)

    def follow_axes(self, constant: ir.Value | None, labels: Mapping[int, Block | None]) -> None:
        """As ``follow_weights``, axis by axis, with blocks of one axis; None (or an absent constant) is fine."""
        if constant is not None and is_constant(constant):
            self.follow_weights(constant, *(Follows((a,), b.labels) for a, b in labels.items() if b is not None))

    def produces(self, node: ir.Node, weight: ir.Value, axis: int) -> None:
        """The node makes channels: one for each index of ``axis`` of its constant ``weight``."""
        self.producers.append(WeightUse(node.name or "", weight.name or "", axis))

    def consumes(self, node: ir.Node, weight: ir.Value, axis: int) -> None:
        """The node sums over the channels that lie along ``axis`` of its constant ``weight``."""
        self.consumers.append(WeightUse(node.name or "", weight.name or "", axis))

    def without(self, block: Block, axes: Iterable[int], reason: str) -> Block | None:
        """The block where ``axes`` keep their length: atoms that differ only along them go together.

        None when nothing is left; then its atoms are pinned for ``reason``.
        """
        lost = [position for position, axis in enumerate(block.axes) if axis in set(axes)]
        if not lost:
            return block
        if len(lost) == len(block.axes):
            self.atoms.pin(block.labels, reason)
            return None
        first = block.labels[tuple(slice(0, 1) if p in lost else slice(None) for p in range(block.labels.ndim))]
        self.atoms.unify(block.labels, first)
        kept = tuple(axis for axis in block.axes if axis not in set(axes))
        return Block(kept, first.squeeze(tuple(lost)), np.asarray(block.zero.all(axis=tuple(lost))))

    def alone(self, blocks: Blocks, axis: int) -> Block | None:
        """The labels along one axis, whatever other axes they were joined with; None when it has none."""
        for block in blocks:
            if axis in block.axes:
                return self.without(block, [a for a in block.axes if a != axis], "")
        return None

    def keeping(self, blocks: Blocks, axes: Iterable[int], reason: str) -> Blocks:
        """The blocks where ``axes`` keep their length, because a node computes over them."""
        axes = tuple(axes)
        left = (self.without(block, axes, reason) for block in blocks)
        return tuple(block for block in left if block is not None)

    def is_uniform(self, labels: Labels, axis: int) -> bool:
        """Whether the labels do not change along ``axis``, with what is known so far."""
        first = labels.take([0], axis=axis)
        if (labels == first).all():
            return True
        roots = self.atoms.roots(labels)
        return bool((roots == roots.take([0], axis=axis)).all())

    def simplified(self, axes: Sequence[int], labels: Labels, zero: Flags) -> Block | None:
        """A block of as few axes as possible: those along which nothing changes have no say in what is removed."""
        wide = [p for p in range(labels.ndim) if labels.shape[p] > 1]
        if not wide:
            return None
        dropped = [p for p in range(labels.ndim) if p not in wide]
        for position in sorted(wide, key=lambda p: labels.shape[p]):
            if len(dropped) < labels.ndim - 1 and self.is_uniform(labels, position):
                dropped.append(position)
        index = tuple(0 if p in dropped else slice(None) for p in range(labels.ndim))
        kept = tuple(axis for p, axis in enumerate(axes) if p not in dropped)
        return Block(kept, labels[index], np.asarray(zero.all(axis=tuple(dropped))) if dropped else zero)


def dims(value: ir.Value) -> tuple[int, ...]:
    """The static shape."""
    return shape_of(value)


def described(node: ir.Node) -> str:
    """A node in a message."""
    return f"{node.op_type} {node.name!r}"
