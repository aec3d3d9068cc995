"""The tables of ``edgekit history`` on terminals of 80 columns."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from edgekit.console import history as console_history
from edgekit.console.history import show_comparison, show_run, show_runs
from edgekit.history.comparison import compare_reports
from edgekit.history.documents import Found
from edgekit.history.selection import Measurement, Run
from tests.history.reports import report, result

LONG = "dist/android-arm64-with-a-long-name/efficientnet_lite1_quantized.onnx"


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Console:
    console = Console(width=80, highlight=False)
    monkeypatch.setattr(console_history, "output_console", lambda: console)
    return console


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_each_figure_of_a_run_is_whole(narrow: Console, capsys: pytest.CaptureFixture[str]) -> None:
    show_run(report(results=[result(LONG), result("dist/x86-64/toy.tflite")], settings={"quick": False, "limit": None}))
    lines = lines_of(capsys)
    assert max(map(len, lines)) <= 80
    assert f"  sha256        {'ab' * 32}" in lines
    at = lines.index("efficientnet_lite1_quantized.onnx", lines.index("environment"))
    assert lines[at + 2 : at + 4] == [
        "  path          dist/android-arm64-with-a-long-name/",
        "                efficientnet_lite1_quantized.onnx",
    ]
    assert lines[lines.index("settings") + 1 : lines.index("environment")] == ["  quick   false"]
    assert any("CV % 4.0" in line for line in lines)


def runs() -> list[Run]:
    measured = result(LONG, 12345.678)
    measurements = [
        Measurement(
            position=position,
            path=path,
            name=Path(path).name,
            sha256="ab",
            bytes=1,
            runtime="litert",
            runtime_version=None,
            delegate="xnnpack",
            threads=1,
            runs=9,
            median_ms=measured.median_ms,
            p90_ms=measured.p90_ms,
            cv=measured.cv,
            ratio=1.0,
            peak_memory_bytes=None,
            throttled=False,
            valid=False,
        )
        for position, path in enumerate((LONG, "a/toy.tflite"))
    ]
    started = datetime(2026, 11, 1, tzinfo=UTC)
    return [
        Run(name, started, True, "board", "ssh", None, tuple(measurements[:count]))
        for name, count in (("one", 2), ("two", 1))
    ]


def test_results_stand_below_their_run(narrow: Console, capsys: pytest.CaptureFixture[str]) -> None:
    show_runs(runs())
    lines = lines_of(capsys)
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if not line.startswith("        ")] == ["one", ":0", ":1", "two", ":0"]
    assert lines[1] == "    :0  android-arm64-with-a-long-name/efficientnet_lite1_quantized.onnx"
    assert lines[2].split()[:4] == ["runtime", "litert/xnnpack", "x1", "median"] and "not valid" in lines[3]


def test_a_comparison_is_whole(narrow: Console, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = report(results=[result(LONG)]), report("20261102-090000-bbbb", [result(LONG, 2.4)])
    show_comparison(compare_reports(Found(old), Found(new)))
    first, *lines = lines_of(capsys)
    assert first.endswith("efficientnet_lite1_quantized.onnx")
    assert lines[0].split() == ["runtime", "litert/xnnpack", "x1", "old", "ms", "2.000", "new", "ms", "2.400"]
    assert lines[1].lstrip().startswith("new/old [95 % interval] 1.200 [")
