import numpy as np
import pytest

from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.canonicalize.sequences import ReverseBySlice, TakeFromConcat
from tests.passes.canonicalize.rewriting import assert_same, build, ops, rewritten

INPUTS = {"x": (4, 1, 3)}


@pytest.mark.parametrize(("lengths", "kept"), [([4], False), ([3], True)])
def test_only_a_sequence_turned_round_as_a_whole_is_a_slice(lengths: list[int], kept: bool) -> None:
    model = build(
        INPUTS, "y", "y = ReverseSequence<time_axis = 0, batch_axis = 1>(x, lengths)", lengths=np.array(lengths)
    )
    assert ops(rewritten(model, ReverseBySlice())) == ["ReverseSequence" if kept else "Slice"]


@pytest.mark.parametrize("start", [0, 4, -4, 8])
def test_a_slice_that_is_one_operand_is_that_operand(start: int) -> None:
    body = """r = Relu(x)
        t = Tanh(x)
        c = Concat<axis = 0>(r, t, r)
        s = Slice(c, starts, ends, axes)
        y = Neg(s)"""
    ends = np.array([start + 4 if start != -4 else 2**31 - 1])
    model = build(INPUTS, "y", body, starts=np.array([start]), ends=ends, axes=np.array([-3]))
    assert "Slice" not in ops(rewritten(model, TakeFromConcat()))


def test_an_index_into_operands_of_one_row_is_a_reshape() -> None:
    body = """a = Relu(x)
        b = Tanh(x)
        c = Concat<axis = 1>(a, b)
        y = Gather<axis = 1>(c, last)"""
    model = build(INPUTS, "y", body, last=np.array(-1))
    assert "Gather" not in ops(rewritten(model, TakeFromConcat()))


def test_what_spans_two_operands_stays() -> None:
    body = """r = Relu(x)
        c = Concat<axis = 0>(x, r)
        y = Slice(c, starts, ends, axes)"""
    model = build(INPUTS, "y", body, starts=np.array([2]), ends=np.array([6]), axes=np.array([0]))
    assert "Slice" in ops(rewritten(model, TakeFromConcat()))


def test_the_parameters_of_a_slice_keep_their_type() -> None:
    """tf2onnx writes int32; a Transpose that moves through must not make some of them int64."""
    body = """t = Transpose<perm = [0, 2, 3, 1]>(x)
        s = Slice(t, starts, ends, axes, steps)
        y = Transpose<perm = [0, 3, 1, 2]>(s)"""
    parameters = {"starts": [1, 0], "ends": [-1, 100], "axes": [1, 2], "steps": [1, 2]}
    model = build({"x": (1, 3, 8, 8)}, "y", body, **{k: np.array(v, np.int32) for k, v in parameters.items()})
    canonical = canonicalize(model)
    assert ops(canonical) == ["Slice"]
    assert_same(model, canonical)
