"""A run as it is planned."""

import math

from hypothesis import given
from hypothesis import strategies as st

from edgekit.passes.recover.recovery import chosen_rate, divided
from edgekit.passes.recover.training import Schedule

schedules = st.builds(Schedule, st.floats(1e-5, 1.0), st.integers(1, 500), st.integers(1, 60), st.just(math.inf))


@given(schedules)
def test_the_rate_rises_to_its_height_and_falls(schedule: Schedule) -> None:
    rates = [schedule.rate_at(step) for step in range(schedule.steps)]
    top = rates.index(max(rates))
    assert math.isclose(max(rates), schedule.rate)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert min(rates) > 0
    if schedule.steps >= 50:
        assert rates[-1] < 0.01 * schedule.rate


@given(schedules)
def test_the_samples_judge_as_often_as_wanted_and_at_the_end(schedule: Schedule) -> None:
    judged = [step for step in range(schedule.steps) if schedule.evaluates_after(step)]
    assert len(judged) == min(schedule.evaluations, schedule.steps)
    assert judged[-1] == schedule.steps - 1


@given(st.integers(1, 10_000), st.integers(1, 20_000), st.sampled_from([0, 2, 4]))
def test_trials_leave_half_of_a_short_time_to_the_run(wanted: int, possible: int, rates: int) -> None:
    plan = divided(wanted, possible, rates)
    assert 1 <= plan.steps <= plan.wanted == wanted and plan.trial_steps >= 1
    if possible >= 2 * rates + 1:
        assert plan.steps + rates * plan.trial_steps <= max(possible, 1)
        assert plan.steps >= min(wanted, possible // 2)
    if possible >= wanted + rates * max(20, wanted):
        assert not plan.is_cut and plan.trial_steps == max(20, round(0.05 * wanted))


def test_a_long_run_takes_the_larger_of_two_rates_that_are_alike_a_short_one_the_better() -> None:
    trials = ((3e-3, 0.38), (1e-3, 0.367))
    assert chosen_rate(trials, divided(6000, 20_000, 2)) == 3e-3
    assert chosen_rate(trials, divided(1200, 50, 2)) == 1e-3
