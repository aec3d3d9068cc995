"""Sums of products over shared axes: with weights on either side, or of two activations (attention)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgekit.graph.queries import attribute, input_of, is_constant
from edgekit.passes.prune.groups.combining import Operand, combine
from edgekit.passes.prune.groups.rules.elementwise import all_zero
from edgekit.passes.prune.groups.rules.registry import rule
from edgekit.passes.prune.groups.tracking import Block, Blocks, Follows, Tracker, described, dims


@dataclass(frozen=True, slots=True)
class Factor:
    """One side of a product. Its axes that both sides have (``batch``) and that it alone has (``free``), by the
    output's axes; and those ``summed`` over, in the order of the other side's."""

    value: ir.Value
    batch: dict[int, int]
    free: dict[int, int]
    summed: tuple[int, ...]

    @property
    def constant(self) -> bool:
        """Whether these are weights."""
        return is_constant(self.value)

    def wide(self, axis: int) -> bool:
        """Whether one of its axes is longer than 1."""
        return dims(self.value)[axis] > 1


@rule("MatMul")
def matmul(tracker: Tracker, node: ir.Node) -> None:
    """[..., M, K] x [..., K, N]; vectors lack M or N."""
    left, right = node.inputs
    assert left is not None and right is not None
    a, b = len(dims(left)), len(dims(right))
    batch = max(a, b, 2) - 2
    first = Factor(left, _batch(a, batch), {batch: a - 2} if a > 1 else {}, (a - 1,))
    second = Factor(right, _batch(b, batch), {batch + (a > 1): b - 1} if b > 1 else {}, (max(b - 2, 0),))
    tracker.set(node.outputs[0], contract(tracker, node, first, second))


def _batch(rank: int, batch: int) -> dict[int, int]:
    own = max(rank - 2, 0)
    return {axis + batch - own: axis for axis in range(own)}


@rule("Gemm")
def gemm(tracker: Tracker, node: ir.Node) -> None:
    """[M, K] x [K, N] with either transposed, plus C, which broadcasts."""
    left, right = node.inputs[:2]
    assert left is not None and right is not None
    a, b = int(attribute(node, "transA")), int(attribute(node, "transB"))
    first, second = Factor(left, {}, {0: a}, (1 - a,)), Factor(right, {}, {1: 1 - b}, (b,))
    output = node.outputs[0]
    blocks = contract(tracker, node, first, second)
    added = input_of(node, 2)
    if added is not None:
        product = Operand(output, dims(output), tuple(blocks), constant=False)
        blocks = combine(tracker, node, [product, Operand.of(tracker, added)], dims(output), all_zero)
    tracker.set(output, blocks)


@rule("Einsum")
def einsum(tracker: Tracker, node: ir.Node) -> None:
    """Two factors whose letters are all in the output or in both; anything else is kept whole."""
    values = [value for value in node.inputs if value is not None]
    letters = _letters(attribute(node, "equation"))
    if letters is None or len(values) != 2:
        for value in values:
            tracker.pin(tracker.of(value), f"{described(node)} is not followed")
        return
    (one, two), output = letters
    shared = [letter for letter in one if letter in two and letter not in output]
    factors = [
        Factor(
            value,
            {output.index(letter): axis for axis, letter in enumerate(own) if letter in output and letter in other},
            {output.index(letter): axis for axis, letter in enumerate(own) if letter in output and letter not in other},
            tuple(own.index(letter) for letter in shared),
        )
        for value, own, other in zip(values, (one, two), (two, one), strict=True)
    ]
    tracker.set(node.outputs[0], contract(tracker, node, factors[0], factors[1]))


def _letters(equation: str) -> tuple[list[str], str] | None:
    """Those of the factors and of the output; None for what is more than a product."""
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    known = arrow and "." not in equation and len(terms) == 2
    if not known or any(len(set(term)) < len(term) for term in (*terms, output)):
        return None
    if not set(terms[0]) ^ set(terms[1]) <= set(output):
        return None
    return terms, output


def contract(tracker: Tracker, node: ir.Node, first: Factor, second: Factor) -> list[Block]:
    """The blocks of the product.

    Along a batch axis both sides lose the same: an attention head goes as a whole. Weights make new channels along
    their free axes, and simply no longer read what is removed along an axis that is summed over.
    """
    sides = [_Side(tracker, factor) for factor in (first, second)]
    result = _batch_blocks(tracker, node, sides)
    _sum_over(tracker, node, sides)
    for side, other in zip(sides, reversed(sides), strict=True):
        if side.factor.constant and not other.factor.constant:
            side.make_channels(tracker, node)
        place = {own: axis for axis, own in side.factor.free.items()}
        result += [block.moved([place[axis] for axis in block.axes]) for block in side.blocks]
        if side.factor.constant:
            tracker.follow_weights(side.factor.value, *side.follows)
    return result


class _Side:
    """A factor during the contraction: the blocks that are left, and what its axes follow if it is constant."""

    def __init__(self, tracker: Tracker, factor: Factor) -> None:
        self.factor = factor
        self.blocks: Blocks = tracker.of(factor.value)
        self.follows: list[Follows] = []

    def take(self, tracker: Tracker, axis: int) -> Block | None:
        """The labels along one axis; what was joined with it no longer has a say."""
        block = tracker.alone(self.blocks, axis)
        self.blocks = tuple(b for b in self.blocks if axis not in b.axes)
        return block

    def make_channels(self, tracker: Tracker, node: ir.Node) -> None:
        """New atoms along all free axes of the weights together, such as [heads, width]."""
        axes = tuple(axis for axis in sorted(self.factor.free.values()) if self.factor.wide(axis))
        if not axes:
            return
        shape = tuple(dims(self.factor.value)[axis] for axis in axes)
        labels = tracker.atoms.new(int(np.prod(shape))).reshape(shape)
        self.blocks = (Block(axes, labels, np.ones(shape, dtype=np.bool_)),)
        self.follows.append(Follows(axes, labels))
        for axis in axes:
            tracker.produces(node, self.factor.value, axis)


def _batch_blocks(tracker: Tracker, node: ir.Node, sides: Sequence[_Side]) -> list[Block]:
    result = []
    for axis in sorted({axis for side in sides for axis in side.factor.batch}):
        present = [s for s in sides if axis in s.factor.batch and s.factor.wide(s.factor.batch[axis])]
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
                side.follows.append(Follows((side.factor.batch[axis],), blocks[0].labels))
        zero = np.logical_or.reduce([block.zero for block in blocks])
        result.append(Block((axis,), blocks[0].labels, zero))
    return result


def _sum_over(tracker: Tracker, node: ir.Node, sides: Sequence[_Side]) -> None:
    for side, other in zip(sides, reversed(sides), strict=True):
        if other.factor.constant and not side.factor.constant:
            _read(tracker, node, side, other)
            return
    for axes in zip(*(side.factor.summed for side in sides), strict=True):
        found = [side.take(tracker, axis) for side, axis in zip(sides, axes, strict=True)]
        blocks = [block for block in found if block is not None]
        if len(blocks) == 1:
            unlabelled = sides[0] if found[0] is None else sides[1]
            tracker.pin(blocks, f"{described(node)} multiplies it with {tracker.origin(unlabelled.factor.value)}")
        elif blocks:
            one, two = blocks
            tracker.atoms.unify(one.labels, two.labels)
            rest = one.labels[~(one.zero | two.zero)]
            tracker.atoms.pin(rest, f"{described(node)} sums over it, and it is not exactly zero where it is removed")


def _read(tracker: Tracker, node: ir.Node, side: _Side, weights: _Side) -> None:
    """The weights follow what they are summed with, also along two axes together."""
    place = dict(zip(side.factor.summed, weights.factor.summed, strict=True))
    left = []
    for block in side.blocks:
        if not set(block.axes) & set(place):
            left.append(block)
            continue
        summed = tracker.without(block, [axis for axis in block.axes if axis not in place], "")
        assert summed is not None
        weights.follows.append(Follows(tuple(place[axis] for axis in summed.axes), summed.labels))
    side.blocks = tuple(left)
    for axis in weights.factor.summed:
        tracker.consumes(node, weights.factor.value, axis)
