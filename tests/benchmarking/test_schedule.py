import pytest

from edgekit.benchmarking.runners import Limits
from edgekit.benchmarking.schedule import Schedule

FULL = Schedule.full(1, (), 30.0)


def test_a_full_measurement_is_1024_runs_or_60_s() -> None:
    assert (FULL.rounds, FULL.limits) == (16, Limits(warmup_s=5.0, min_runs=64, min_s=0.25, max_s=3.75))
    assert FULL.rounds * FULL.limits.min_runs >= 1024 and FULL.rounds * FULL.limits.max_s == 60


def test_a_quick_one_is_128_runs_or_10_s() -> None:
    quick = FULL.quick()
    assert (quick.rounds, quick.limits) == (8, Limits(warmup_s=2.0, min_runs=16, min_s=0.1, max_s=1.25))


@pytest.mark.parametrize("schedule", [FULL, FULL.quick()])
def test_a_duration_is_shared_by_the_rounds(schedule: Schedule) -> None:
    limits = schedule.lasting(30.0).limits
    assert limits.min_s == limits.max_s == pytest.approx(30 / schedule.rounds)


def test_a_trial_may_take_much_longer_than_its_limits() -> None:
    assert FULL.timeout_s > 10 * (FULL.limits.warmup_s + FULL.limits.max_s)
    assert FULL.lasting(240.0).timeout_s > FULL.timeout_s


def test_a_long_duration_has_more_rounds_and_no_longer_trials() -> None:
    hour = FULL.lasting(3600.0)
    assert hour.rounds == 720 and hour.limits.min_s == hour.limits.max_s == 5.0


@pytest.mark.parametrize("duration_s", [60.0, 600.0, 7000.0])
def test_a_model_of_25_us_reaches_the_duration_within_the_runs_of_a_trial(duration_s: float) -> None:
    schedule = FULL.lasting(duration_s)
    assert schedule.rounds * min(schedule.limits.max_s, schedule.limits.max_runs * 25e-6) == pytest.approx(duration_s)


def test_timing_operations_may_take_as_long_as_ten_more_runs() -> None:
    assert FULL.profile_timeout_s(60_000.0) > FULL.timeout_s + 10 * 60.0
    assert FULL.profile_timeout_s(0.1) > FULL.timeout_s
