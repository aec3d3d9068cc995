from math import prod

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.passes.prune.groups.regrouping import regroup
from edgekit.passes.prune.groups.tracking import Block, Tracker

FACTORS = st.lists(st.sampled_from([1, 2, 3, 2]), min_size=2, max_size=6)


@st.composite
def reshapes(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    """Two shapes of the same elements, and an axis of the first that has channels."""
    factors = draw(FACTORS)
    before, after = (_merged(factors, draw(st.lists(st.booleans(), min_size=6, max_size=6))) for _ in range(2))
    return before, after, draw(st.integers(0, len(before) - 1))


def _merged(factors: list[int], cuts: list[bool]) -> list[int]:
    shape = [1]
    for factor, cut in zip(factors, cuts, strict=False):
        if cut:
            shape.append(factor)
        else:
            shape[-1] *= factor
    return shape


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(reshapes())
def test_every_element_keeps_its_channel(case: tuple[list[int], list[int], int]) -> None:
    before, after, axis = case
    if before[axis] == 1:
        return
    tracker = Tracker()
    labels = tracker.atoms.new(before[axis])
    zero = labels % 2 == 0
    blocks = regroup(tracker, (Block((axis,), labels, zero),), before, after, name="r")
    (block,) = blocks
    assert block is not None
    spread = labels.reshape([-1 if a == axis else 1 for a in range(len(before))])
    elements = np.broadcast_to(spread, before).reshape(after)
    shape = [size if a in block.axes else 1 for a, size in enumerate(after)]
    assert np.array_equal(np.broadcast_to(block.labels.reshape(shape), after), elements)
    assert np.array_equal(np.broadcast_to(block.zero.reshape(shape), after), elements % 2 == 0)
    assert all(after[a] > 1 for a in block.axes)
    # And there and back again is where it was.
    (back,) = regroup(tracker, (block,), after, before, name="r")
    assert back is not None
    assert back.axes == (axis,) and np.array_equal(back.labels, labels) and prod(after) == prod(before)
