"""A run as it is planned."""

import math

from hypothesis import given
from hypothesis import strategies as st

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
