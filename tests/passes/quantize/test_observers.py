import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.passes.quantize.observers import Observer, minmax_range, mse_range
from edgekit.passes.quantize.qparams import choose_qparams, fake_quantize


def observe(*arrays: np.ndarray) -> Observer:
    observer = Observer()
    for array in arrays:
        observer = observer.merged(Observer.of(array.astype(np.float32)))
    return observer


def error(values: np.ndarray, bounds: tuple[float, float]) -> float:
    return float(np.square(fake_quantize(values.astype(np.float32), choose_qparams(*bounds)) - values).mean())


def test_mse_cuts_a_long_tail_and_gains_by_it() -> None:
    batches = list(np.random.default_rng(0).laplace(size=(30, 4000)))
    values, observer = np.concatenate(batches), observe(*batches)
    low, high = mse_range(observer)
    assert values.min() < low < 0 < high < values.max()
    assert error(values, (low, high)) < 0.85 * error(values, minmax_range(observer))


def test_mse_finds_what_trying_all_ranges_finds() -> None:
    values = np.random.default_rng(1).normal(size=4000)
    best = min(error(values, (values.min() * f, values.max() * g)) for f in FRACTIONS for g in FRACTIONS)
    assert error(values, mse_range(observe(values))) < 1.03 * best


FRACTIONS = np.linspace(0.4, 1, 25)


def test_a_mass_at_the_end_holds_the_range() -> None:
    values = np.clip(np.random.default_rng(2).normal(size=4000) * 3, 0, 6)
    assert mse_range(observe(values)) == pytest.approx((0.0, 6.0), rel=0.011)


def test_zeros_do_not_pull_the_range_in() -> None:
    values = np.random.default_rng(3).laplace(size=2000)
    sparse = np.concatenate([values, np.zeros(2000)])
    assert mse_range(observe(sparse)) == mse_range(observe(values))


@given(st.lists(st.floats(-(2.0**123), 2.0**123, width=32), min_size=1, max_size=60))
def test_any_numbers_give_a_range_within_their_extremes_and_zero(numbers: list[float]) -> None:
    values = np.array(numbers, np.float32)
    low, high = mse_range(observe(values))
    assert min(float(values.min()), 0) * 1.0001 <= low <= 0 <= high <= max(float(values.max()), 0) * 1.0001
    assert np.isfinite(choose_qparams(low, high).scale)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=6), st.randoms())
def test_order_does_not_matter(seeds: list[int], random) -> None:
    arrays = [np.random.default_rng(seed).normal(size=100) for seed in seeds]
    shuffled = arrays.copy()
    random.shuffle(shuffled)
    first, second = observe(*arrays), observe(*shuffled)
    assert np.array_equal(first.counts, second.counts)
    assert (first.minimum, first.maximum) == (second.minimum, second.maximum)


def test_the_extremes_are_of_all_numbers_and_the_histogram_of_some() -> None:
    values = np.zeros(1_000_000, np.float32)
    values[123_457] = 7
    observer = observe(values)
    assert observer.maximum == 7
    assert 2000 < observer.counts.sum() < 10_000


def test_nothing_observed_of_an_empty_array() -> None:
    assert minmax_range(observe(np.empty((0, 3)))) == (0, 0)
