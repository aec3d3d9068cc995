import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.benchmarking.statistics import (
    LEAST_ROUNDS,
    Pool,
    median,
    percentile,
    pooled_coefficient_of_variation,
    ratio,
    ratio_interval,
)

TIMES = st.floats(1e-4, 1e5, allow_nan=False)
PAIRS = st.lists(st.tuples(TIMES, TIMES), min_size=LEAST_ROUNDS, max_size=20)
ROUNDS = st.lists(st.lists(TIMES, min_size=1, max_size=10), min_size=1, max_size=6)


@given(st.lists(TIMES, min_size=1, max_size=50))
@settings(deadline=None)
def test_the_median_is_that_of_the_standard_library(values: list[float]) -> None:
    assert median(values) == pytest.approx(statistics.median(values))


@given(st.lists(TIMES, min_size=2, max_size=50))
@settings(deadline=None)
def test_percentiles_are_of_type_7(values: list[float]) -> None:
    # "inclusive" is the standard library's word for type 7.
    assert percentile(values, 90) == pytest.approx(statistics.quantiles(values, n=10, method="inclusive")[-1])


@given(st.lists(TIMES, min_size=2, max_size=50), st.floats(0, 100), st.floats(0, 100))
@settings(deadline=None)
def test_percentiles_rise_and_stay_within_the_values(values: list[float], low: float, high: float) -> None:
    low, high = sorted((low, high))
    span = max(values) - min(values)
    assert (
        min(values) <= percentile(values, low) <= percentile(values, high) + 1e-12 * span <= max(values) + 1e-9 * span
    )


def test_the_99th_percentile_lies_between_the_last_two_of_few_values() -> None:
    assert percentile([1.0, 2.0, 3.0], 99) == pytest.approx(2.98)


def test_the_coefficient_of_variation_has_no_unit() -> None:
    values = [3.0, 4.0, 5.0]
    assert Pool.of([values]).coefficient_of_variation() == pytest.approx(0.25)
    assert Pool.of([[1000 * value for value in values]]).coefficient_of_variation() == pytest.approx(0.25)


def test_one_run_has_no_spread() -> None:
    assert Pool.of([[3.0]]).coefficient_of_variation() is None
    assert Pool.of([[3.0]]).percentile(99) == 3.0


@given(st.integers(1, 8), st.data(), st.floats(0, 100))
@settings(deadline=None)
def test_of_rounds_with_equally_many_runs_the_pool_is_that_of_all_runs(
    count: int, data: st.DataObject, percent: float
) -> None:
    rounds = data.draw(st.lists(st.lists(TIMES, min_size=count, max_size=count), min_size=1, max_size=6))
    together = [value for each in rounds for value in each]
    pool = Pool.of(rounds)
    assert pool.percentile(percent) == pytest.approx(percentile(together, percent))
    if len(together) > 1:
        expected = float(np.std(together, ddof=1) / np.mean(together))
        assert pool.coefficient_of_variation() == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(ROUNDS, st.integers(2, 5), st.floats(0, 100))
@settings(deadline=None)
def test_a_round_that_lasts_longer_weighs_the_same(rounds: list[list[float]], times: int, percent: float) -> None:
    longer = Pool.of([rounds[0] * times, *rounds[1:]])
    as_often = Pool.of([each * times for each in rounds])
    span = as_often.values[-1] - as_often.values[0]
    means = [np.average(pool.values, weights=pool.weights) for pool in (longer, as_often)]
    assert means[0] == pytest.approx(means[1])
    assert as_often.values[0] - 1e-9 * span <= longer.percentile(percent) <= as_often.values[-1] + 1e-9 * span


@given(ROUNDS, st.floats(0, 100), st.floats(0, 100))
@settings(deadline=None)
def test_percentiles_of_a_pool_rise_within_its_values(rounds: list[list[float]], low: float, high: float) -> None:
    pool = Pool.of(rounds)
    low, high = sorted((low, high))
    slack = 1e-9 * pool.values[-1]
    assert pool.values[0] - slack <= pool.percentile(low) <= pool.percentile(high) + slack
    assert pool.percentile(high) <= pool.values[-1] + slack


def test_percentiles_of_a_pool_are_of_the_weighted_type_7() -> None:
    # Weights 1/4, 1/4, 1/2 are worth 8/3 values: the window of the median is from 5/16 to 11/16.
    assert Pool.of([[1.0, 2.0], [3.0]]).percentile(50) == pytest.approx((3 * 2.0 + 3 * 3.0) / 6)
    assert Pool.of([[1.0, 1.0, 1.0], [9.0]]).percentile(50) == pytest.approx(5.0)


@given(ROUNDS)
@settings(deadline=None)
def test_rounds_vary_as_their_values_together_do(rounds: list[list[float]]) -> None:
    pool = Pool.of(rounds)
    pooled = pooled_coefficient_of_variation(
        [float(np.mean(each)) for each in rounds], [float(np.std(each)) for each in rounds]
    )
    mean = np.average(pool.values, weights=pool.weights)
    expected = float(np.sqrt(np.average((pool.values - mean) ** 2, weights=pool.weights)) / mean)
    assert pooled == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(PAIRS)
@settings(deadline=None, max_examples=40)
def test_the_interval_contains_the_ratio(pairs: list[tuple[float, float]]) -> None:
    mine, others = zip(*pairs, strict=True)
    found = ratio_interval(mine, others)
    assert found is not None
    assert found[0] <= ratio(mine, others) * (1 + 1e-12) and ratio(mine, others) <= found[1] * (1 + 1e-12)


@given(PAIRS, st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=40)
def test_a_faster_clock_changes_neither_the_ratio_nor_its_interval(
    pairs: list[tuple[float, float]], scale: float
) -> None:
    mine, others = zip(*pairs, strict=True)
    scaled = [scale * time for time in mine], [scale * time for time in others]
    assert ratio(*scaled) == pytest.approx(ratio(mine, others))
    assert ratio_interval(*scaled) == pytest.approx(ratio_interval(mine, others))


@given(TIMES, TIMES, st.integers(LEAST_ROUNDS, 20))
@settings(deadline=None, max_examples=20)
def test_constant_times_have_an_interval_without_width(mine: float, other: float, rounds: int) -> None:
    low, high = ratio_interval([mine] * rounds, [other] * rounds) or (math.nan, math.nan)
    assert low == high == mine / other


@given(st.lists(TIMES, min_size=1, max_size=20))
@settings(deadline=None, max_examples=20)
def test_an_artifact_is_as_fast_as_itself(times: list[float]) -> None:
    assert ratio(times, times) == 1.0


def test_what_slows_both_down_in_a_round_is_not_in_the_ratio() -> None:
    rng = np.random.default_rng(1)
    weather = rng.uniform(1, 3, 16)
    low, high = ratio_interval(1.5 * weather, weather) or (0, 0)
    assert low == pytest.approx(1.5) and high == pytest.approx(1.5)


def test_the_interval_narrows_with_more_rounds_and_is_the_same_each_time() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(1.0, 0.1, 64)
    few, many = (ratio_interval(noise[:count], np.ones(count)) or (0, 9) for count in (6, 64))
    assert many[1] - many[0] < few[1] - few[0]
    assert ratio_interval(noise[:6], np.ones(6)) == few


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(100):
        noise = rng.normal(1.0, 0.05, 16)
        low, high = ratio_interval(noise, np.ones(16)) or (0, 0)
        hits += low <= 1.0 <= high
    assert 88 <= hits <= 100


@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_few_rounds_have_no_interval(rounds: int) -> None:
    assert ratio_interval([1.0] * rounds, [2.0] * rounds) is None
