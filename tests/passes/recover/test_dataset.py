"""Which samples are kept, and which judge."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.passes.recover.dataset import LEAST_HELD_BACK, MOST_HELD_BACK, collect, held_back_indices, split
from edgekit.passes.recover.settings import RecoverySettings


def numbered(count: int) -> list[dict[str, np.ndarray]]:
    return [{"x": np.full((1, 4), index, np.float32)} for index in range(count)]


def test_more_than_memory_allows_are_thinned_evenly_and_labels_with_them() -> None:
    data = collect(numbered(1000), ["x"], np.arange(1000), most_bytes=100 * 16)
    kept = data.arrays["x"][:, 0, 0].astype(int)
    assert 50 <= len(data) <= 101
    assert len(set(np.diff(kept))) == 1
    np.testing.assert_array_equal(data.labels[:, 0], kept)


def test_labels_of_a_model_with_a_batch_go_with_their_sample() -> None:
    samples = [{"x": np.full((4, 2), index, np.float32)} for index in range(20)]
    data = collect(samples, ["x"], np.arange(80).reshape(20, 4).ravel())
    np.testing.assert_array_equal(data.labels, np.arange(80).reshape(20, 4))


@given(st.integers(16, 20_000), st.floats(0.01, 0.99))
def test_some_judge_and_the_others_train(count: int, share: float) -> None:
    held = held_back_indices(count, RecoverySettings(held_back=share))
    assert len(set(held.tolist())) == len(held)
    assert held.min() >= 0 and held.max() < count
    assert LEAST_HELD_BACK <= len(held) <= min(MOST_HELD_BACK, count // 2)
    gaps = np.diff(np.sort(held))
    assert gaps.size == 0 or gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize(("count", "held"), [(16, 8), (63, 13), (100, 20), (1024, 64), (10_000, 200)])
def test_of_many_samples_a_smaller_share_judges(count: int, held: int) -> None:
    assert len(held_back_indices(count, RecoverySettings())) == held


def test_no_sample_does_both() -> None:
    fitted, held = split(collect(numbered(50), ["x"], None), RecoverySettings())
    together = np.concatenate([fitted.arrays["x"][:, 0, 0], held.arrays["x"][:, 0, 0]])
    np.testing.assert_array_equal(np.sort(together), np.arange(50))
