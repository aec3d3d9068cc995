import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.benchmarking.executors import DeviceFacts
from edgekit.benchmarking.results import Report, Result
from edgekit.errors import GateError, HistoryError, UsageError
from edgekit.history.comparison import Comparison, compare_reports
from edgekit.history.documents import Found
from edgekit.history.intervals import ratio_interval
from tests.history.reports import REPORTS, replace_state, report, result, scatter


def compare(old: list[Result], new: list[Result], **changes: Any) -> Comparison:
    before, after = report("old", old), replace(report("new", new, started="2026-11-02T09:00:00+00:00"), **changes)
    return compare_reports(Found(before), Found(after))


def test_ratio_interval_and_verdict() -> None:
    [slower, same, faster] = compare(
        [result("a.tflite", 2.0), result("b.tflite", 2.0), result("c.tflite", 2.0)],
        [result("a.tflite", 2.4), result("b.tflite", 2.02), result("c.tflite", 1.0)],
    ).pairs
    assert (slower.ratio, slower.verdict) == (pytest.approx(1.2), "slower")
    assert slower.ratio_ci is not None and 1.17 < slower.ratio_ci[0] < 1.2 < slower.ratio_ci[1] < 1.23
    assert same.verdict == "no clear difference"
    assert (faster.ratio, faster.verdict) == (0.5, "faster")


def test_a_clear_but_small_difference_between_calls_is_not_called_one() -> None:
    before = result(median_ms=2.0, round_medians_ms=scatter(2.0, 0.001))
    [pair] = compare([before], [result(median_ms=2.06, round_medians_ms=scatter(2.06, 0.001))]).pairs
    assert pair.ratio_ci is not None and pair.ratio_ci[0] > 1
    assert pair.verdict == "no clear difference"


def test_a_large_difference_within_the_scatter_is_not_called_one() -> None:
    [pair] = compare(
        [result(round_medians_ms=scatter(2.0, 0.4))], [result(median_ms=2.3, round_medians_ms=scatter(2.3, 0.4))]
    ).pairs
    assert pair.ratio_ci is not None and pair.ratio_ci[0] < 1 < pair.ratio_ci[1]
    assert pair.verdict == "no clear difference"


def test_results_of_one_run_are_compared_round_by_round() -> None:
    """Drift of 30 % hits both in every round: it is not in the interval, and 2 % are a difference."""
    drift = scatter(1.0, 0.3)
    both = report("one", [result("a.tflite", 2.0, round_medians_ms=tuple(2 * each for each in drift)),
                          result("b.tflite", 2.04, round_medians_ms=tuple(2.04 * each for each in drift))])  # fmt: skip
    compared = compare_reports(Found(both, 0), Found(both, 1))
    [pair] = compared.pairs
    assert pair.ratio_ci == (pytest.approx(1.02), pytest.approx(1.02))
    assert pair.verdict == "slower"
    assert any("measured in turns: drift has hit both alike" in note for note in compared.notes)
    assert compared.to_json()["interleaved"] is True


def test_without_rounds_the_variation_of_the_runs_makes_a_wide_interval() -> None:
    known = {"round_medians_ms": (), "cv": 0.05}
    [pair] = compare([result(**known)], [result(median_ms=2.4, **known)]).pairs
    width = 1.96 * math.sqrt(math.pi / 2) * 0.05 * math.sqrt(2 / 8)
    assert pair.ratio_ci == (pytest.approx(1.2 / math.exp(width)), pytest.approx(1.2 * math.exp(width)))
    assert pair.verdict == "slower"


def test_without_any_spread_nothing_is_judged() -> None:
    unknown = {"round_medians_ms": (), "cv": None}
    [pair] = compare([result(**unknown)], [result(median_ms=4.0, **unknown)]).pairs
    assert (pair.ratio, pair.ratio_ci, pair.verdict) == (2.0, None, "unknown")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"throttled": True, "valid": False}, "the new figure is throttled"),
        ({"valid": False}, "the new figure is not valid"),
    ],
)
def test_a_figure_that_is_not_valid_is_not_judged(changes: dict[str, bool], told: str) -> None:
    compared = compare([result()], [result(median_ms=4.0, **changes)])
    [pair] = compared.pairs
    assert pair.verdict == "unknown"
    assert any(told in note for note in pair.notes)
    with pytest.raises(GateError, match="cannot be judged"):
        compared.require(10)


@pytest.mark.parametrize("kind", ["normal", "heavy-tailed", "of two levels"])
def test_the_interval_covers_the_truth_of_random_rounds(kind: str) -> None:
    """Two calls on the same artifact: 1 is inside in some 95 of 100, and not always."""
    import numpy as np

    generator = np.random.default_rng(1)
    rounds = {
        "normal": lambda: np.exp(generator.normal(0, 0.05, 8)),
        "heavy-tailed": lambda: 1 + 0.02 * np.abs(generator.standard_t(2, 8)),
        "of two levels": lambda: np.where(generator.random(8) < 0.4, 1.1, 1.0) * np.exp(generator.normal(0, 0.01, 8)),
    }[kind]
    inside = 0
    for _ in range(100):
        before, after = (
            result(median_ms=float(np.median(times)), round_medians_ms=tuple(times.tolist()))
            for times in (rounds(), rounds())
        )
        interval = ratio_interval(before, after, paired=False)
        assert interval is not None
        inside += interval[0] <= 1 <= interval[1]
    assert 90 <= inside < 100


def test_matches_need_the_same_name_runtime_delegate_and_threads() -> None:
    old = [result(), result(threads=4), result(delegate="gpu"), result("gone.tflite")]
    new = [result(threads=4, median_ms=3.0), result("added.onnx", runtime="onnxruntime"), result(delegate="gpu")]
    compared = compare(old, new)
    assert [(pair.old_position, pair.new_position) for pair in compared.pairs] == [(1, 0), (2, 2)]
    assert compared.only_old == ("dist/x86-64/toy.tflite", "gone.tflite")
    assert compared.only_new == ("added.onnx",)


def test_equal_names_are_matched_by_path_then_by_content() -> None:
    old = [result("dist/pi/toy.tflite"), result("dist/phone/toy.tflite"), result("x/toy.tflite", sha256="ee" * 32)]
    new = [result("/ci/dist/phone/toy.tflite"), result("y/toy.tflite", sha256="ee" * 32), result("out/pi/toy.tflite")]
    assert {(p.old_position, p.new_position) for p in compare(old, new).pairs} == {(1, 0), (2, 1), (0, 2)}


def test_two_results_by_position_are_compared_whatever_they_are() -> None:
    old, new = report("old", [result(), result("a.onnx", 4.0, runtime="onnxruntime")]), report("new")
    [pair] = compare_reports(Found(old, 1), Found(new, 0)).pairs
    assert pair.ratio == 0.5


def test_one_position_is_matched_with_the_whole_other_run() -> None:
    old = report("old", [result("a.tflite"), result("b.tflite")])
    compared = compare_reports(Found(old), Found(report("new", [result("a.tflite"), result("b.tflite")]), 1))
    assert [(pair.old_position, pair.new_position) for pair in compared.pairs] == [(1, 1)]


def test_nothing_in_common_says_what_each_run_has() -> None:
    with pytest.raises(HistoryError) as caught:
        compare([result("a.tflite")], [result("b.tflite", threads=4), *[result("c.tflite")] * 3])
    assert "run old has a.tflite (litert, xnnpack, 1 threads)" in str(caught.value)
    assert "and 1 more" in str(caught.value)
    assert "RUN:INDEX" in str(caught.value)


def test_runs_that_differ_say_in_what() -> None:
    notes = compare(
        [result()],
        [result()],
        device=DeviceFacts("board", "ssh", model="Board 6", soc="S922X", abi="arm64-v8a", cores=(4, 5)),
        settings={"quick": True, "rounds": 8},
        environment={"edgekit": "0.1.0", "ai-edge-litert": "2.4.0"},
        complete=False,
    ).notes
    assert notes[0].startswith("not measured in turns but at 2026-11-01T09:00:00 and 2026-11-02T09:00:00")
    assert notes[1:] == (
        "the new run was not finished",
        "another device: model Board 5 -> Board 6",
        "other settings: quick false -> true",
        "another environment: ai-edge-litert 2.3.0 -> 2.4.0",
    )


def test_results_that_differ_say_in_what() -> None:
    before = result()
    after = replace_state(
        replace(before, sha256="cd" * 32, runtime_version="2.4.0", accelerated_ops=7, cores=(1,)),
        governor="powersave",
        frequency_mhz=1800.0,
        temperature_c=60.0,
    )
    [pair] = compare([before], [after]).pairs
    assert pair.notes == (
        "measured otherwise: runtime_version 2.3.0 -> 2.4.0, cores [0] -> [1], accelerated_ops 9 -> 7",
        "another state: governor performance -> powersave, frequency_mhz 2400 -> 1800, temperature_c 41 -> 60",
    )


def test_states_that_hardly_differ_are_no_note() -> None:
    [pair] = compare([result()], [replace_state(result(), frequency_mhz=2350.0, temperature_c=45.0)]).pairs
    assert pair.notes == ("the same file in both",)


def test_a_report_read_from_json_differs_in_nothing_from_itself() -> None:
    from edgekit.history.documents import parse_report

    recorded = report(settings={"cores": (1, 2)})
    read = parse_report(json.loads(json.dumps(recorded.to_json())), "old")
    assert len(compare_reports(Found(recorded), Found(read)).notes) == 1


def test_the_gate() -> None:
    compared = compare([result("a.tflite"), result("b.tflite")], [result("a.tflite", 2.2), result("b.tflite", 1.9)])
    compared.require(1.2)
    with pytest.raises(GateError) as caught:
        compared.require(1.05)
    assert "a.tflite: 2 -> 2.2 ms is 1.100x (95 % interval 1.0" in str(caught.value)
    assert "above 1.05x" in str(caught.value)
    assert "b.tflite" not in str(caught.value)


def test_the_gate_is_not_passed_by_a_run_that_died() -> None:
    compared = compare([result("a.tflite"), result("b.tflite")], [result("a.tflite")], complete=False)
    with pytest.raises(GateError, match=r"b\.tflite is missing in the new run, which was not finished"):
        compared.require(1.05)


def test_the_gate_is_not_passed_by_an_artifact_that_is_gone() -> None:
    old, new = report("old", [result("a.tflite"), result("b.tflite")]), report("new", [result("a.tflite")])
    with pytest.raises(GateError, match=r"b\.tflite is missing in the new run$"):
        compare_reports(Found(old), Found(new)).require(1.05)
    compare_reports(Found(old), Found(new, 0)).require(1.05)
    compare_reports(Found(old, 0), Found(new)).require(1.05)


def test_the_gate_does_not_pass_what_has_no_ratio() -> None:
    with pytest.raises(GateError, match=r"0\.0 ms and 2\.0 ms have no ratio"):
        compare([result(median_ms=0.0)], [result()]).require(1.05)


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan, math.inf])
def test_a_limit_that_is_none(limit: float) -> None:
    with pytest.raises(UsageError, match="--fail-above"):
        compare([result()], [result()]).require(limit)


@given(REPORTS, REPORTS, st.sampled_from([0.5, 1.0, 1.05]))
@settings(max_examples=25, deadline=None)
def test_any_two_reports_are_compared_or_refused(old: Report, new: Report, limit: float) -> None:
    try:
        compared = compare_reports(Found(old), Found(new))
    except HistoryError:
        keys = [
            {(each.path.split("/")[-1], each.runtime, each.delegate, each.threads) for each in one.results}
            for one in (old, new)
        ]
        assert not keys[0] & keys[1] or any("/" in each.path for each in (*old.results, *new.results))
        return
    document = compared.to_json()
    json.dumps(document)
    assert len(compared.pairs) + len(compared.only_new) == len(new.results)
    assert len(compared.pairs) + len(compared.only_old) == len(old.results)
    for pair in compared.pairs:
        assert pair.ratio_ci is None or (pair.ratio is not None and pair.ratio_ci[0] <= pair.ratio <= pair.ratio_ci[1])


@given(REPORTS.filter(lambda each: each.results))
@settings(max_examples=25, deadline=None)
def test_any_report_compared_with_itself_pairs_each_result_with_itself_or_its_equal(both: Report) -> None:
    compared = compare_reports(Found(both), Found(both))
    assert len(compared.pairs) == len(both.results)
    for pair in compared.pairs:
        assert pair.verdict in ("no clear difference", "unknown") or pair.old != pair.new


def test_fixed_performance_mode_is_a_difference() -> None:
    old, new = (
        report(name, device=DeviceFacts("pixel", "adb", fixed_performance=on))
        for name, on in (("o", True), ("n", False))
    )
    assert "another device: fixed_performance true -> false" in compare_reports(Found(old), Found(new)).notes
