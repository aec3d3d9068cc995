from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from edgekit.benchmarking.results import Report, State
from edgekit.benchmarking.runners import OpTime
from edgekit.console.benchmark import short_paths, show_report, spell_milliseconds
from tests.history.reports import REPORTS, replace_state, report, result


def shown(written: Report, width: int = 160) -> str:
    console = Console(width=width, record=True, quiet=False, file=open("/dev/null", "w"), highlight=False)  # noqa: PTH123, SIM115
    show_report(written, console=console)
    return console.export_text()


def test_the_table_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(report())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "toy.tflite" in captured.err


def test_the_figures_of_every_artifact() -> None:
    text = shown(
        report(results=[result(), result("dist/x86-64/toy.mnn", 3.0, runtime="mnn", delegate=None, ratio=1.5)])
    )
    figures = [line for line in text.splitlines() if "toy." in line and "[" in line]
    first, second = ([cell.strip() for cell in line.split("  ") if cell.strip()] for line in figures)
    assert first == ["toy.tflite", "litert/xnnpack", "1", "2.000", "2.200", "2.600", "4.0", "1.000 [0.990, 1.010]"]
    assert second[:4] == ["toy.mnn", "mnn", "1", "3.000"]
    [rest] = [line.split() for line in text.splitlines() if "toy.tflite" in line and "[" not in line]
    assert rest == ["toy.tflite", "12.5", "3.250", "9.0", "9/9", "2.3.0"]
    assert "measured on board (Board 5, S922X, arm64-v8a)" in text


def test_what_is_unknown_is_empty_and_not_zero() -> None:
    unknown = result(
        p90_ms=None, p99_ms=None, cv=None, ratio_ci=None, load_ms=None, first_ms=None, peak_memory_bytes=None,
        accelerated_ops=None, total_ops=None, runtime_version=None,
    )  # fmt: skip
    text = shown(report(results=[unknown]))
    assert [line.split() for line in text.splitlines() if "toy.tflite" in line] == [
        ["toy.tflite", "litert/xnnpack", "1", "2.000", "1.000"],
        ["toy.tflite", "unknown"],
    ]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (result(cores=()), "not pinned to cores"),
        (replace_state(result(), governor="powersave"), "governor powersave"),
        (replace_state(result(), thermal_status=3), "thermal status 3"),
        (result(throttled=True, valid=False, slowdown=1.25), "throttled (1.25x slower) and stayed so: not valid"),
        (result(throttled=True, valid=False, slowdown=1.0), "throttled and stayed so: not valid"),
        (
            replace(result(throttled=True, valid=False, slowdown=1.0), state_after=State(thermal_status=3)),
            "throttled (thermal status 3) and stayed so: not valid",
        ),
        (result(throttled=None), "throttling unknown"),
        (result(valid=False), "not every round was measured: not valid"),
        (result(valid=False, rounds=7, settled=False), "not every round was measured: not valid"),
        (result(settled=False), "did not settle in every round: expect more spread"),
        (result(settled=False, valid=False), "did not settle in most rounds: not valid"),
        (result(cv=1.2), "other programs have disturbed single runs"),
        (result(round_medians_ms=(1.7, 1.0, 1.0, 1.7, 1.7, 1.0, 1.0, 1.7)), "the rounds differ"),
        (result(threads=3, cores=(2, 3)), "3 threads on 2 cores wait for each other"),
        (result(runner="python"), "the interpreter is in the peak memory"),
        (
            result(statistic="round means", runner="MNNV2Basic"),
            "that of round means: MNNV2Basic does not tell each run",
        ),
    ],
)
def test_what_to_know_beside_the_figures(changed: object, told: str) -> None:
    assert told in shown(report(results=[changed]))  # type: ignore[list-item]
    assert told not in shown(report())


def test_a_note_on_all_is_said_once_and_one_on_some_names_them() -> None:
    unpinned = [result("a.tflite", cores=()), result("b.tflite", cores=())]
    assert shown(report(results=unpinned)).count("not pinned") == 1
    assert "b.tflite: not pinned" in shown(report(results=[result("a.tflite"), unpinned[1]]))


def test_an_unfinished_report_says_so() -> None:
    assert "not finished" in shown(report(complete=False))
    assert "not finished" in shown(report(results=[], complete=False))


def test_the_slowest_operations_come_first() -> None:
    profile = tuple(OpTime("CONV_2D", f"node{number}[a]", float(number), number % 2 == 0) for number in range(1, 14))
    text = shown(report(results=[result(profile=profile)]))
    rows = [line.split() for line in text.splitlines() if "CONV_2D" in line]
    assert [row[1] for row in rows] == [f"node{number}[a]" for number in range(13, 3, -1)]
    assert rows[0][2:] == ["13.00", "14.3", "no"]
    assert rows[1][-1] == "yes"
    assert "and 3 more, 6.000 ms together" in text


@pytest.mark.parametrize(
    ("paths", "short"),
    [
        (["dist/a/x.tflite"], ["x.tflite"]),
        (["dist/a/x.tflite", "dist/b/x.tflite"], ["a/x.tflite", "b/x.tflite"]),
        (["dist/a/x.tflite", "y.tflite"], ["dist/a/x.tflite", "y.tflite"]),
        (["a/x.tflite", "a/x.tflite"], ["x.tflite", "x.tflite"]),
        ([], []),
    ],
)
def test_paths_are_told_without_what_they_share(paths: list[str], short: list[str]) -> None:
    assert short_paths(paths) == short


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0.01234, "0.012340"), (6e-5, "0.000060"), (2.0, "2.000"), (12.345, "12.35"), (1234.56, "1234.6")],
)
def test_times_have_the_digits_that_count(value: float | None, text: str) -> None:
    assert spell_milliseconds(value) == text


@given(REPORTS, st.integers(40, 200))
@settings(max_examples=30, deadline=None)
def test_any_report_can_be_shown(written: Report, width: int) -> None:
    text = shown(written, width)
    assert "measured on" in text
    assert len([line for line in text.splitlines() if line.strip()]) > 4 * bool(written.results)


def test_a_name_with_brackets_is_no_markup() -> None:
    text = shown(report(results=[replace(result(), path="[red]x[bold].tflite")]))
    assert "[red]x[bold].tflite" in text


def test_a_newline_in_a_name_splits_no_row() -> None:
    text = shown(report(results=[result("a\nb\x1b[31m.tflite"), result("c.tflite")]))
    rows = [line for line in text.splitlines() if r"a\nb\x1b[31m.tflite" in line]
    assert len(rows) == 2 and all(len(row.split()) > 4 for row in rows)
    assert "\x1b" not in text and not any(line.strip().startswith("b") for line in text.splitlines())


def test_no_figure_is_cut_on_a_terminal_of_80_columns() -> None:
    long = "dist/android-arm64-with-a-long-name/efficientnet_lite1_quantized.onnx"
    operations = (OpTime("QLinearConv", "features/expand/a_long_name_of_a_node/" * 3, 12345.67, accelerated=False),)
    slow = result(long, 12345.678, ratio=198.352, ratio_ci=(185.841, 213.468), valid=False, profile=operations)
    text = shown(report(results=[slow, result("dist/x86-64/toy.onnx")]), width=80)
    figures = [line for line in text.splitlines() if "slowest operations" not in line]
    assert max(map(len, figures[: figures.index("measured on board (Board 5, S922X, arm64-v8a)")])) <= 80
    for whole in (
        "12345.7",
        "198.352 [185.841, 213.468]",
        "accelerated",
        "QLinearConv",
        "a_long_name_of_a_node/",
        "not valid",
    ):
        assert whole in text
