from dataclasses import replace

import numpy as np
import pytest

from edgekit.benchmarking.aggregation import KEPT_RUNS, Conditions, Measured, aggregate, to_results
from edgekit.benchmarking.results import Result, State
from edgekit.benchmarking.runners import Trial
from tests.benchmarking.fakes import FakeProgram, schedule, subject, trial

PROGRAM = FakeProgram(lambda workload, count: trial(1.0))


def results(*artifacts: list[Trial], conditions: Conditions | None = None, rounds: int = 2) -> tuple[Result, ...]:
    measured = []
    for index, trials in enumerate(artifacts):
        measured.append(Measured(subject(f"{index}.tflite", PROGRAM)))
        for number, each in enumerate(trials):
            measured[-1].add(number, each)
    return to_results(measured, conditions or Conditions(State(), State()), schedule(rounds))


def test_all_runs_of_all_rounds_count_together() -> None:
    figures = aggregate([trial(1.0, 3.0), trial(2.0, 100.0)])
    together = np.array([1.0, 2.0, 3.0, 100.0])
    assert (figures.statistic, figures.runs, figures.median_ms) == ("runs", 4, 2.5)
    assert figures.p90_ms == pytest.approx(np.percentile(together, 90))
    assert figures.p99_ms == pytest.approx(np.percentile(together, 99))
    assert figures.cv == pytest.approx(together.std(ddof=1) / together.mean())


def test_a_fast_round_does_not_count_more_because_it_has_more_runs() -> None:
    # Rounds of 0.1 s: 100 runs of 1 ms, or 50 of 2 ms.
    slow, fast = trial(*[2.0] * 50), trial(*[1.0] * 100)
    assert aggregate([slow, fast, slow]).median_ms == 2.0
    assert aggregate([slow, fast] * 2).cv == pytest.approx(np.std([1.0, 2.0]) / 1.5, rel=0.01)


def test_of_very_many_runs_a_sample_is_kept() -> None:
    times = np.random.default_rng(1).lognormal(0, 0.3, 4 * KEPT_RUNS + 1)
    measured = Measured(subject("a.tflite", PROGRAM))
    measured.add(0, trial(*times))
    (kept,) = measured.trials.values()
    assert KEPT_RUNS / 2 < len(kept.times_ms) <= KEPT_RUNS and kept.median_ms == np.median(times)
    assert measured.figures is not None and measured.figures.runs == times.size
    assert measured.figures.p99_ms == pytest.approx(np.percentile(times, 99), rel=0.05)
    assert measured.figures.cv == pytest.approx(times.std() / times.mean(), rel=0.05)
    measured.add(1, trial(*times[:KEPT_RUNS]))
    assert len(measured.trials[1].times_ms) == KEPT_RUNS


def test_the_medians_agree_with_the_ratio() -> None:
    # The second is slower in every round, and slower still in the first ones: these have few runs of it.
    base = [trial(*[1.0] * 20)] * 5
    other = [trial(*[3.0] * 7)] * 3 + [trial(*[1.25] * 16)] * 2
    first, second = results(base, other, rounds=5)
    assert second.ratio == second.median_ms / first.median_ms == 3.0


def test_a_program_that_tells_medians_gives_the_median_of_these() -> None:
    rounds = [
        Trial(runs=10, mean_ms=mean, median_ms=mean - 0.5, p90_ms=mean + 1, p99_ms=mean + 2, std_ms=0.0)
        for mean in (2.0, 3.0, 7.0)
    ]
    figures = aggregate(rounds)
    assert (figures.statistic, figures.runs, figures.median_ms) == ("round medians", 30, 2.5)
    assert (figures.p90_ms, figures.p99_ms) == (4.0, 5.0)
    assert figures.cv == pytest.approx(np.std([2.0, 3.0, 7.0]) / 4.0)


def test_a_program_that_tells_only_means_says_so() -> None:
    figures = aggregate([Trial(runs=10, mean_ms=2.0), Trial(runs=10, mean_ms=4.0, median_ms=1.0)])
    assert (figures.statistic, figures.median_ms) == ("round means", 3.0)
    assert (figures.p90_ms, figures.p99_ms, figures.cv) == (None, None, None)


def test_a_program_that_tells_means_is_compared_with_the_means_of_the_other() -> None:
    told = [trial(1.0, 1.0, 10.0)] * 2
    means = [Trial(runs=3, mean_ms=8.0)] * 2
    first, second = results(told, means)
    assert first.median_ms == 1.0, "its own figure stays the best that is known"
    assert second.ratio == pytest.approx(2.0), "mean to mean, and not mean to median"


def test_what_a_round_tells_once_is_the_median_over_rounds_and_memory_is_the_most() -> None:
    rounds = [
        Trial(runs=1, mean_ms=1.0, times_ms=(1.0,), load_ms=load, first_ms=2 * load, peak_memory_bytes=int(1000 * load))
        for load in (3.0, 1.0, 20.0)
    ]
    (result,) = results(rounds, rounds=3)
    assert (result.load_ms, result.first_ms, result.peak_memory_bytes) == (3.0, 6.0, 20_000)


def test_what_a_round_does_not_tell_is_not_guessed() -> None:
    known = Trial(runs=1, mean_ms=1.0, times_ms=(1.0,), load_ms=3.0)
    (result,) = results([known, trial(1.0)])
    assert (result.load_ms, result.first_ms, result.peak_memory_bytes) == (None, None, None)


def test_the_version_and_the_operations_are_the_last_that_were_told() -> None:
    told = Trial(runs=1, mean_ms=1.0, times_ms=(1.0,), accelerated_ops=8, total_ops=9, runtime_version="2.3.0")
    (result,) = results([told, trial(1.0)])
    assert (result.accelerated_ops, result.total_ops, result.runtime_version) == (8, 9, "2.3.0")


def test_only_rounds_that_both_have_make_the_ratio() -> None:
    times = [1.0, 2.0, 3.0, 4.0, 5.0]
    first, second = results([*map(trial, times), trial(50.0)], [trial(3 * time) for time in times], rounds=6)
    assert second.ratio == 3.0 and second.ratio_ci == (3.0, 3.0)
    assert second.round_medians_ms == (3.0, 6.0, 9.0, 12.0, 15.0)
    assert first.valid and not second.valid, "a round of it is missing"


def test_a_throttled_round_spoils_the_artifacts_that_ran_in_it() -> None:
    conditions = Conditions(State(), State(), {0: 1.0, 1: 1.3}, {0: False, 1: True})
    both, early = results([trial(1.0), trial(1.0)], [trial(1.0)], conditions=conditions)
    assert both.throttled and not both.valid and both.slowdown == 1.3
    assert not early.throttled


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ({0: False, 1: False}, False),
        ({0: False, 1: None}, None),
        ({0: False}, None),
        ({}, None),
        ({0: None, 1: True}, True),
    ],
)
def test_what_is_not_known_of_a_round_is_not_known(rounds: dict[int, bool | None], expected: bool | None) -> None:
    (result,) = results([trial(1.0), trial(1.0)], conditions=Conditions(State(), State(), {}, rounds))
    assert result.throttled is expected
    assert result.valid is (expected is not True), "not knowing is no fault"


@pytest.mark.parametrize(
    ("rounds", "settled", "valid"),
    [
        ([None, None, None], None, True),
        ([True, True, True], True, True),
        ([True, True, None], True, True),
        ([True, True, False], False, True),
        ([True, True, False, False], False, True),
        ([True, False, False], False, False),
    ],
)
def test_most_rounds_must_have_settled(rounds: list[bool | None], settled: bool | None, valid: bool) -> None:
    trials = [replace(trial(1.0), settled=each) for each in rounds]
    (result,) = results(trials, rounds=len(trials))
    assert (result.settled, result.valid) == (settled, valid)


def test_the_document_has_the_state_before_and_after() -> None:
    conditions = Conditions(State(governor="performance"), State(governor="powersave"))
    (result,) = results([trial(1.0), trial(1.0)], conditions=conditions)
    document = result.to_json()
    assert document["state"]["governor"] == "performance"
    assert document["state"]["after"]["governor"] == "powersave"
    assert "state_after" not in document
