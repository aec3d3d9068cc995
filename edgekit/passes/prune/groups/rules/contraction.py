"""Matrix products: with weights on either side, or of two activations (attention)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgekit.graph.queries import attribute, input_of, is_constant
from edgekit.passes.prune.groups.combining import Operand, combine
from edgekit.passes.prune.groups.rules.elementwise import all_zero
from edgekit.passes.prune.groups.rules.registry import rule
from edgekit.passes.prune.groups.tracking import Block, Blocks, Tracker, described, dims


@dataclass(frozen=True, slots=True)
class Factor:
    """One side of a product: its axes that are batch (by the output's batch axis), free (kept) and summed over."""

    value: ir.Value
    batch: dict[int, int]
    free: int | None
    summed: int

    @property
    def constant(self) -> bool:
        """Whether these are weights."""
        return is_constant(self.value)

    def size(self, axis: int) -> int:
        """The length of one of its axes."""
        return dims(self.value)[axis]


@rule("MatMul")
def matmul(tracker: Tracker, node: ir.Node) -> None:
    """[..., M, K] x [..., K, N]; vectors lack M or N."""
    left, right = node.inputs
    assert left is not None and right is not None
    a, b = len(dims(left)), len(dims(right))
    batch = max(a, b, 2) - 2
    first = Factor(left, _batch(a, batch), a - 2 if a > 1 else None, a - 1)
    second = Factor(right, _batch(b, batch), b - 1 if b > 1 else None, max(b - 2, 0))
    free = [batch if a > 1 else None, batch + (a > 1) if b > 1 else None]
    blocks = contract(tracker, node, first, second, free)
    tracker.set(node.outputs[0], blocks)


def _batch(rank: int, batch: int) -> dict[int, int]:
    own = max(rank - 2, 0)
    return {axis + batch - own: axis for axis in range(own)}


@rule("Gemm")
def gemm(tracker: Tracker, node: ir.Node) -> None:
    """[M, K] x [K, N] with either transposed, plus C, which broadcasts."""
    left, right = node.inputs[:2]
    assert left is not None and right is not None
    a, b = bool(attribute(node, "transA")), bool(attribute(node, "transB"))
    first, second = Factor(left, {}, int(a), int(not a)), Factor(right, {}, int(not b), int(b))
    output = node.outputs[0]
    blocks = tuple(contract(tracker, node, first, second, [0, 1]))
    added = input_of(node, 2)
    if added is not None:
        tracker.origins[output] = f"channels that {described(node)} must keep"
        product = Operand(output, dims(output), blocks, constant=False)
        blocks = tuple(combine(tracker, node, [product, Operand.of(tracker, added)], dims(output), all_zero))
    tracker.set(output, blocks)


def contract(tracker: Tracker, node: ir.Node, first: Factor, second: Factor, free: Sequence[int | None]) -> list[Block]:
    """The blocks of the product, whose axes are the batch axes, then ``free[0]`` and ``free[1]``.

    Along a batch axis both sides lose the same: an attention head goes as a whole. Weights make new channels along
    their free axis, and simply no longer read what is removed along the axis that is summed over.
    """
    sides = [_Side(tracker, factor) for factor in (first, second)]
    result = [*_batch_blocks(tracker, node, sides)]
    _sum_over(tracker, node, sides)
    for side, other, axis in zip(sides, reversed(sides), free, strict=True):
        block = side.free_block(tracker, node, other)
        if block is not None and axis is not None:
            result.append(block.moved([axis]))
    for side in sides:
        if side.factor.constant:
            tracker.follow_axes(side.factor.value, side.follows)
    return result


class _Side:
    """A factor during the contraction: the blocks that are left, and what its axes follow if it is constant."""

    def __init__(self, tracker: Tracker, factor: Factor) -> None:
        self.factor = factor
        self.blocks: Blocks = tracker.of(factor.value)
        self.follows: dict[int, Block | None] = {}

    def take(self, tracker: Tracker, axis: int) -> Block | None:
        """The labels along one axis; what was joined with it no longer has a say."""
        block = tracker.alone(self.blocks, axis)
        self.blocks = tuple(b for b in self.blocks if axis not in b.axes)
        return block

    def free_block(self, tracker: Tracker, node: ir.Node, other: "_Side") -> Block | None:
        axis = self.factor.free
        if axis is None:
            return None
        if not self.factor.constant or other.factor.constant:
            return self.take(tracker, axis)
        block = tracker.fresh(axis, self.factor.size(axis))
        self.follows[axis] = block
        tracker.produces(node, self.factor.value, axis)
        return block


def _batch_blocks(tracker: Tracker, node: ir.Node, sides: Sequence[_Side]) -> list[Block]:
    result = []
    for axis in sorted({axis for side in sides for axis in side.factor.batch}):
        present = [side for side in sides if axis in side.factor.batch and _wide(side, axis)]
        found = [(side, side.take(tracker, side.factor.batch[axis])) for side in present if not side.factor.constant]
        blocks = [block for _, block in found if block is not None]
        if not blocks:
            continue
        unlabelled = [side for side, block in found if block is None]
        if unlabelled:
            origin = tracker.origin(unlabelled[0].factor.value)
            tracker.pin(blocks, f"{described(node)} multiplies it with {origin}")
            continue
        for block in blocks[1:]:
            tracker.atoms.unify(blocks[0].labels, block.labels)
        for side in present:
            if side.factor.constant:
                side.follows[side.factor.batch[axis]] = blocks[0]
        zero = np.logical_or.reduce([block.zero for block in blocks])
        result.append(Block((axis,), blocks[0].labels, zero))
    return result


def _wide(side: _Side, axis: int) -> bool:
    return side.factor.size(side.factor.batch[axis]) > 1


def _sum_over(tracker: Tracker, node: ir.Node, sides: Sequence[_Side]) -> None:
    for side, other in zip(sides, reversed(sides), strict=True):
        if other.factor.constant and not side.factor.constant:
            other.follows[other.factor.summed] = side.take(tracker, side.factor.summed)
            tracker.consumes(node, other.factor.value, other.factor.summed)
            return
    found = [side.take(tracker, side.factor.summed) for side in sides]
    blocks = [block for block in found if block is not None]
    if len(blocks) == 1:
        other = sides[0] if found[0] is None else sides[1]
        tracker.pin(blocks, f"{described(node)} multiplies it with {tracker.origin(other.factor.value)}")
    elif blocks:
        one, two = blocks
        tracker.atoms.unify(one.labels, two.labels)
        rest = one.labels[~(one.zero | two.zero)]
        tracker.atoms.pin(rest, f"{described(node)} sums over it, and it is not exactly zero where it is removed")
