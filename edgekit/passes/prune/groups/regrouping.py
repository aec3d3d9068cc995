"""How labels go through a Reshape: axes that are split, merged, or left alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.passes.prune.groups.tracking import Block, Blocks, Tracker


@dataclass(frozen=True, slots=True)
class _Segment:
    """Neighbouring axes before and after that hold the same elements; none of length 1."""

    before: tuple[int, ...]
    after: tuple[int, ...]


def regroup(
    tracker: Tracker, blocks: Blocks, before: Sequence[int], after: Sequence[int], *, name: str
) -> list[Block | None]:
    """The blocks of a value of shape ``before`` once it has the shape ``after``, its elements in the same order.

    A channel axis that is split becomes a block over several axes, one that is merged with others owns all of their
    elements: [C, H, W] -> [C * H * W].
    """
    segments = _segments(before, after)
    result: list[Block | None] = []
    taken: set[int] = set()
    for block in blocks:
        touched = [i for i, segment in enumerate(segments) if set(segment.before) & set(block.axes)]
        if taken & set(touched):
            tracker.pin([block], f"Reshape {name!r} merges two axes that both have channels")
            continue
        taken |= set(touched)
        result.append(_through(tracker, block, [segments[i] for i in touched], before, after))
    return result


def _segments(before: Sequence[int], after: Sequence[int]) -> list[_Segment]:
    left = [axis for axis, size in enumerate(before) if size != 1]
    right = [axis for axis, size in enumerate(after) if size != 1]
    segments = []
    i = j = 0
    while i < len(left) and j < len(right):
        first, second = i, j
        a, b = before[left[i]], after[right[j]]
        while a != b:
            if a < b:
                i += 1
                a *= before[left[i]]
            else:
                j += 1
                b *= after[right[j]]
        i, j = i + 1, j + 1
        segments.append(_Segment(tuple(left[first:i]), tuple(right[second:j])))
    return segments


def _through(
    tracker: Tracker, block: Block, segments: Sequence[_Segment], before: Sequence[int], after: Sequence[int]
) -> Block | None:
    if len(segments) > 1:
        # [.., C, H, r, ..] -> [.., C, H * r, ..]: an axis of pixels keeps its length, so the r x r channels of a pixel
        # go together. An axis of samples may take in heads, and heads may be repeated (grouped queries).
        pixels = [
            axis
            for segment in segments
            if segment.before[0] not in block.axes and segment.before[0] != 0
            for axis in segment.before
        ]
        left = tracker.without(block, pixels, "a Reshape merges its channels with pixels")
        if left is None:
            return None
        block = left
        segments = [segment for segment in segments if set(segment.before) & set(block.axes)]
    inner = [axis for segment in segments for axis in segment.before]
    outer = [axis for segment in segments for axis in segment.after]
    missing = tuple(p for p, axis in enumerate(inner) if axis not in block.axes)
    full = tuple(before[axis] for axis in inner)
    target = tuple(after[axis] for axis in outer)
    labels = np.broadcast_to(np.expand_dims(block.labels, missing), full).reshape(target)
    zero = np.broadcast_to(np.expand_dims(block.zero, missing), full).reshape(target)
    return tracker.simplified(outer, labels, zero)
