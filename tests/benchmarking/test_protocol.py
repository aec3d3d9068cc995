"""The order of trials, repeats of throttled rounds, and what is kept when a device dies; with a device that is fake."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from edgekit.benchmarking.protocol import MAXIMUM_COOL_DOWNS, MAXIMUM_WAITS, Observers, measure, order_of_round
from edgekit.benchmarking.results import Report
from edgekit.benchmarking.runners import OpTime, Trial, Workload
from edgekit.benchmarking.schedule import Schedule
from edgekit.benchmarking.subjects import Subject
from edgekit.errors import DeviceError, GateError
from edgekit.progress import Silent
from tests.benchmarking.fakes import FakeExecutor, FakeProgram, Watcher, draft, schedule, subject, trial

# Sizing the probe asks once roughly and once for the time before.
SIZING = [0.1, 0.1]


def constant(time_ms: float) -> FakeProgram:
    return FakeProgram(lambda workload, count: trial(*[time_ms] * 4))


def run(
    executor: FakeExecutor, subjects: Sequence[Subject], plan: Schedule | None = None, watcher: Watcher | None = None
) -> Report:
    watcher = watcher or Watcher()
    return measure(executor, subjects, plan or schedule(), draft(executor), Observers(watcher, watcher, Silent()))


def three() -> list[Subject]:
    return [subject(name, constant(time)) for name, time in (("a", 2.0), ("b", 3.0), ("c", 1.0))]


def test_each_round_runs_every_artifact_in_another_order() -> None:
    executor = FakeExecutor()
    run(executor, three(), schedule(rounds=6))
    rounds = ["".join(executor.programs[start : start + 3]) for start in range(0, 18, 3)]
    assert rounds == ["abc", "cba", "bca", "acb", "cab", "bac"]


@pytest.mark.parametrize("count", range(1, 10))
def test_the_orders_of_rounds_are_balanced(count: int) -> None:
    rounds = 2 * count if count % 2 else count
    orders = [order_of_round(number, count) for number in range(rounds)]
    assert all(sorted(order) == list(range(count)) for order in orders)
    assert order_of_round(rounds, count) == orders[0]
    places = Counter((place, each) for order in orders for place, each in enumerate(order))
    assert set(places.values()) == {rounds // count}
    neighbours = Counter(pair for order in orders for pair in pairwise(order))
    assert len(neighbours) == count * (count - 1) and len(set(neighbours.values())) <= 1


def test_programs_are_pinned_by_a_mask_before_the_command() -> None:
    executor = FakeExecutor()
    run(executor, three())
    assert all(command[:2] == ["taskset", "c"] for command in executor.commands)


def test_the_workload_is_what_the_schedule_says() -> None:
    program = constant(1.0)
    run(FakeExecutor(), [subject("a.tflite", program, "none")], schedule(rounds=1))
    (workload,) = program.workloads
    expected = Workload("tflite", "a.tflite", 2, schedule().limits, "none", (2, 3), label="a.tflite")
    assert workload == expected


def test_results_have_the_artifacts_order_and_ratios_to_the_first() -> None:
    report = run(FakeExecutor(), three())
    assert [result.path for result in report.results] == ["a", "b", "c"]
    assert [result.ratio for result in report.results] == [1.0, 1.5, 0.5]
    assert report.complete and all(result.valid and result.rounds == 4 for result in report.results)


def test_a_drift_that_hits_all_alike_is_not_in_the_ratio() -> None:
    def drifting(base: float) -> Callable[[Workload, int], Trial]:
        return lambda workload, count: trial(*[base * (1 + count)] * 3)

    subjects = [subject("a", FakeProgram(drifting(1.0))), subject("b", FakeProgram(drifting(1.2)))]
    baseline, other = run(FakeExecutor(), subjects, schedule(rounds=8)).results
    assert other.ratio == pytest.approx(1.2) and other.ratio_ci == pytest.approx((1.2, 1.2))
    assert baseline.cv is not None and baseline.cv > 0.4


def test_a_throttled_round_is_measured_again_after_cooling_down() -> None:
    found = iter([5.0, 9.0, 5.5])
    program = FakeProgram(lambda workload, count: trial(next(found)))
    slow_twice = [0.15, 0.15]
    executor = FakeExecutor(probe_seconds=[*SIZING, 0.1, *slow_twice, 0.1, 0.1])
    (result,) = run(executor, [subject("a", program)], schedule(rounds=2)).results
    assert result.round_medians_ms == (5.0, 5.5)
    assert result.valid and not result.throttled and result.slowdown == pytest.approx(1.0)


def test_one_slow_look_of_the_probe_is_noise() -> None:
    executor = FakeExecutor(probe_seconds=[*SIZING, 0.15, 0.1])
    (result,) = run(executor, [subject("a", constant(1.0))], schedule(rounds=1)).results
    assert len(executor.programs) == 1 and result.valid


def test_a_device_that_stays_throttled_is_measured_to_the_end_but_not_valid() -> None:
    executor = FakeExecutor(probe_seconds=[*SIZING, 0.1, 0.1, 0.15])
    results = run(executor, three(), schedule(rounds=6)).results
    assert len(executor.programs) == 6 * 3, "without recovery no round is repeated"
    for result in results:
        assert result.throttled and not result.valid and result.rounds == 6
        assert result.slowdown == pytest.approx(1.5)


def test_a_device_that_throttles_in_every_round_is_repeated_a_bounded_number_of_times() -> None:
    # Slow after every round (two looks), fast after every cool-down.
    executor = FakeExecutor(probe_seconds=[*SIZING, *[0.15, 0.15, 0.1] * MAXIMUM_COOL_DOWNS, 0.15])
    (result,) = run(executor, [subject("a", constant(1.0))], schedule(rounds=2)).results
    assert len(executor.programs) == 1 + MAXIMUM_COOL_DOWNS + 1
    assert result.throttled and not result.valid


def test_a_device_that_throttles_again_and_again_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("edgekit.benchmarking.protocol.time.sleep", waits.append)
    # Slow after each round (as many looks as the probe takes), fast after the wait and the repeated round.
    executor = FakeExecutor(probe_seconds=[*SIZING, *[0.15, 0.15, 0.1, 0.1] * MAXIMUM_WAITS, 0.15])
    (result,) = run(executor, [subject("a", constant(1.0))], schedule(rounds=MAXIMUM_WAITS + 3)).results
    assert len(waits) == MAXIMUM_WAITS
    assert len(executor.programs) == MAXIMUM_WAITS * 2 + 3
    assert result.throttled and not result.valid, "the last rounds were not repeated"


def test_the_probe_comes_first_after_a_round() -> None:
    executor = FakeExecutor()
    run(executor, three(), schedule(rounds=2))
    assert executor.asked == ["state", "probe", "probe", *["run", "run", "run", "probe", "state"] * 2]


def test_the_probe_comes_before_the_journal_too() -> None:
    class Noting(Watcher):
        def __call__(self, report: Report) -> None:
            executor.asked.append("journal")

    executor = FakeExecutor()
    run(executor, three()[:2], schedule(rounds=1), Noting())
    assert executor.asked[3:] == ["run", "journal", "run", "probe", "state", "journal", "journal"]


@pytest.mark.parametrize(("before", "after"), [(0, 1), (0, 2), (2, 2), (None, 3)])
def test_a_device_that_says_it_is_hot_has_throttled_whatever_the_probe_says(before: int | None, after: int) -> None:
    # Before; after the round; after cooling down; after the round again.
    executor = FakeExecutor(thermal=[before, after, 0, 0])
    (result,) = run(executor, [subject("a", constant(1.0))], schedule(rounds=1)).results
    assert len(executor.programs) == 2 and result.throttled is False and result.valid
    executor = FakeExecutor(thermal=[before, after])
    (result,) = run(executor, [subject("a", constant(1.0))], schedule(rounds=2)).results
    assert len(executor.programs) == 2 and result.throttled and not result.valid
    assert result.slowdown == pytest.approx(1.0)


def test_a_device_that_is_as_warm_as_before_has_not_throttled() -> None:
    executor = FakeExecutor(thermal=[1, 1, 0, 1])
    (result,) = run(executor, [subject("a", constant(1.0))], schedule(rounds=3)).results
    assert len(executor.programs) == 3 and result.throttled is False


def test_without_a_probe_nobody_knows_whether_it_has_throttled() -> None:
    executor = FakeExecutor(probe_seconds=[None])
    (result,) = run(executor, [subject("a", constant(1.0))], schedule(rounds=2)).results
    assert result.throttled is None and result.slowdown is None and result.valid


def test_a_probe_that_fails_once_leaves_a_round_unknown() -> None:
    executor = FakeExecutor(probe_seconds=[*SIZING, None, None, 0.1])
    (result,) = run(executor, [subject("a", constant(1.0))], schedule(rounds=2)).results
    assert result.throttled is None and result.slowdown == pytest.approx(1.0)


def test_a_probe_that_fails_is_no_recovery() -> None:
    # Slow after the round, silent ever after.
    executor = FakeExecutor(probe_seconds=[*SIZING, 0.15, 0.15, None])
    (result,) = run(executor, [subject("a", constant(1.0))], schedule(rounds=1)).results
    assert len(executor.programs) == 1 and result.throttled and not result.valid


def test_it_waits_as_long_as_the_profile_says(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("edgekit.benchmarking.protocol.time.sleep", waits.append)
    executor = FakeExecutor(probe_seconds=[*SIZING, 0.15, 0.15, 0.15, 0.15, 0.1, 0.1])
    run(executor, [subject("a", constant(1.0))], schedule(rounds=1, cool_down_s=45.0))
    assert waits == [45.0, 45.0]


def test_everything_measured_so_far_is_journalled_after_each_trial() -> None:
    watcher = Watcher()
    run(FakeExecutor(), three(), schedule(rounds=2), watcher)
    counted = [sum(result.rounds for result in report.results) for report in watcher.reports]
    assert counted == [1, 2, 3, 4, 5, 6, 6]
    assert [report.complete for report in watcher.reports] == [False] * 6 + [True]
    assert not any(result.valid for result in watcher.reports[2].results), "not every round was measured"


def test_a_device_that_dies_keeps_what_was_measured() -> None:
    watcher = Watcher()
    with pytest.raises(DeviceError, match="unplugged"):
        run(FakeExecutor(dies_after=7), three(), schedule(rounds=4), watcher)
    last = watcher.reports[-1]
    assert [result.rounds for result in last.results] == [2, 3, 2] and not last.complete
    assert [result.ratio for result in last.results] == [1.0, 1.5, 0.5]


def test_the_state_is_that_before_and_that_after_the_last_round() -> None:
    (result,) = run(FakeExecutor(), [subject("a", constant(1.0))], schedule(rounds=3)).results
    assert (result.state.load_average, result.state_after.load_average) == (0.0, 3.0)


def test_an_artifact_that_breaks_a_promise_is_told_after_its_first_trial() -> None:
    class Strict(Watcher):
        def check(self, subject: Subject, trial: Trial) -> None:
            if subject.artifact.path.name == "b":
                raise GateError("b: too slow")

    strict = Strict()
    executor = FakeExecutor()
    with pytest.raises(GateError, match="b: too slow"):
        run(executor, three(), schedule(), strict)
    assert executor.programs == ["a", "b"]
    assert [result.path for result in strict.reports[-1].results] == ["a", "b"]


def test_an_artifact_that_falls_back_later_is_told_then() -> None:
    class Strict(Watcher):
        def check(self, subject: Subject, trial: Trial) -> None:
            if trial.accelerated_ops == 0:
                raise GateError("a: fell back")

    def forgetful(workload: Workload, count: int) -> Trial:
        return Trial(runs=1, mean_ms=1.0, times_ms=(1.0,), accelerated_ops=0 if count == 2 else 9)

    strict = Strict()
    with pytest.raises(GateError, match="a: fell back"):
        run(FakeExecutor(), [subject("a", FakeProgram(forgetful))], schedule(rounds=4), strict)
    assert strict.reports[-1].results[0].rounds == 3


def test_the_profile_is_of_a_trial_of_its_own() -> None:
    operations = (OpTime("CONV_2D", "stem", 0.5),)

    def found(workload: Workload, count: int) -> Trial:
        if not workload.profile:
            return trial(1.0)
        return Trial(runs=1, mean_ms=99.0, times_ms=(99.0,), profile=operations)

    report = run(FakeExecutor(), [subject("a", FakeProgram(found))], schedule(rounds=2, profile=True))
    (result,) = report.results
    assert result.profile == operations and result.median_ms == 1.0 and result.runs == 2


def test_figures_are_journalled_as_complete_before_operations_are_timed(caplog: pytest.LogCaptureFixture) -> None:
    def dying(workload: Workload, count: int) -> Trial:
        if workload.profile:
            raise DeviceError("fake: the profile does not fit the disk")
        return trial(1.0)

    watcher = Watcher()
    with caplog.at_level(logging.WARNING, "edgekit"):
        report = run(
            FakeExecutor(), [subject("a", FakeProgram(dying))], replace(schedule(rounds=2), profile=True), watcher
        )
    assert report.complete and watcher.reports[-1] == report and report.results[0].valid
    assert "operations are not timed: fake: the profile does not fit the disk" in caplog.text


def test_what_is_timed_is_journalled_after_what_is_complete() -> None:
    def found(workload: Workload, count: int) -> Trial:
        return replace(trial(1.0), profile=(OpTime("CONV_2D", "stem", 0.5),) if workload.profile else ())

    watcher = Watcher()
    run(FakeExecutor(), [subject("a", FakeProgram(found))], schedule(rounds=1, profile=True), watcher)
    assert [report.complete for report in watcher.reports] == [False, True, True]
    assert [len(report.results[0].profile) for report in watcher.reports] == [0, 0, 1]


def test_a_slow_artifact_has_time_for_its_profile() -> None:
    executor = FakeExecutor()
    run(executor, [subject("a", constant(60_000.0))], schedule(rounds=1, profile=True))
    assert executor.timeouts[1] - executor.timeouts[0] > 10 * 60
