import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import ascii_uppercase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.console.chart import draw_chart
from edgekit.errors import UsageError
from edgekit.history.figure import save_figure
from edgekit.history.selection import Selection, parse_since, select
from edgekit.history.series import METRICS, Plot, Point, Series, gather
from edgekit.history.store import History
from tests.history.reports import report, result

_START = datetime(2026, 11, 1, 9, tzinfo=UTC)


def plot(*groups: list[float], metric: str = "median_ms", valid: bool = True) -> Plot:
    series = [
        Series(f"{number}.tflite", tuple(Point(at, value, valid) for at, value in enumerate(values)))
        for number, values in enumerate(groups)
    ]
    return Plot(metric, tuple(series), tuple(_START + timedelta(days=at) for at in range(max(map(len, groups)))))


def test_series_are_per_artifact_runtime_threads_and_device(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite3")
    both = [result("dist/pi/toy.tflite"), result("dist/pi/toy.tflite", 1.0, threads=4)]
    history.record(report("a", both, started="2026-11-01T00:00:00Z"))
    history.record(report("empty", [], started="2026-11-02T00:00:00Z"))
    history.record(report("b", [result("elsewhere/pi/toy.tflite", 3.0, valid=False)], started="2026-11-03T00:00:00Z"))
    drawn = gather(history.runs(), "median_ms")
    assert drawn.series == (
        Series("pi/toy.tflite, litert/xnnpack, 1 thread, board", (Point(0, 2.0, True), Point(1, 3.0, False))),
        Series("pi/toy.tflite, litert/xnnpack, 4 threads, board", (Point(0, 1.0, True),)),
    )
    assert [start.day for start in drawn.starts] == [1, 3]


def test_what_was_not_measured_is_not_plotted(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite3")
    history.record(report(results=[result(peak_memory_bytes=None, p90_ms=float("inf"))]))
    assert gather(history.runs(), "peak_memory_bytes").series == ()
    assert gather(history.runs(), "p90_ms").series == ()
    assert len(gather(history.runs(), "ratio").series) == 1


def test_too_many_series_leave_out_those_with_the_oldest_points(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite3")
    history.record(report("a", [result(f"old{number}.tflite") for number in range(8)], started="2026-11-01T00:00:00Z"))
    history.record(report("b", [result(f"new{number}.tflite") for number in range(6)], started="2026-11-02T00:00:00Z"))
    drawn = gather(history.runs(), "median_ms")
    assert sum(series.label.startswith("new") for series in drawn.series) == 6
    assert (len(drawn.series), drawn.left_out) == (10, 4)


def test_a_chart_puts_the_largest_value_on_top_and_the_newest_to_the_right() -> None:
    lines = draw_chart(plot([1.0, 2.0, 3.0]), 80)
    rows = [(number, line.index("A")) for number, line in enumerate(lines[1:17]) if "A" in line]
    assert len(rows) == 3
    assert [column for _, column in rows] == sorted((column for _, column in rows), reverse=True)
    assert rows[0][0] <= 1 and rows[-1][0] >= 14
    assert lines[0] == "median latency (ms)"
    assert "2026-11-01" in lines[18] and lines[18].index("2026-11-01") < lines[18].index("2026-11-03")


def test_a_chart_marks_what_is_not_valid_and_what_coincides() -> None:
    text = "\n".join(draw_chart(plot([1.0], [1.0], [5.0], valid=False), 80))
    assert "*  several in one place" in text
    assert "small letters: not valid" in text
    assert any(line.rstrip().endswith("c") for line in text.splitlines()[1:4])


def test_a_chart_does_not_make_a_mountain_of_noise() -> None:
    rows = {number for number, line in enumerate(draw_chart(plot([2.0, 2.01, 1.995]), 80)[1:17]) if "A" in line}
    assert max(rows) - min(rows) <= 2
    low, high = plot([2.0, 2.01]).limits
    assert high - low > 0.1 * 2.0


@given(
    st.lists(
        st.lists(st.floats(1e-9, 1e9) | st.integers(0, 3).map(float), min_size=1, max_size=30), min_size=1, max_size=10
    ),
    st.integers(1, 200),
    st.sampled_from(sorted(METRICS)),
)
@settings(max_examples=150, deadline=None)
def test_any_chart_fits_and_shows_every_series(groups: list[list[float]], width: int, metric: str) -> None:
    drawn = plot(*groups, metric=metric)
    lines = draw_chart(drawn, width)
    assert all(len(line) <= max(width, 21) for line in lines[1:18])
    grid = "".join(line[11:] for line in lines[1:17])
    for letter in ascii_uppercase[: len(groups)]:
        assert letter in grid or "*" in grid
    assert sum(line[:3] == f"{letter}  " for line in lines for letter in ascii_uppercase) == len(groups)


@pytest.mark.parametrize(
    "drawn",
    [
        plot([2.0, 2.1, 2.4], [1.0, 1.1]),
        plot([3.0]),
        plot([0.0, 0.0]),
        plot([0.001, 900.0]),
        Plot("ratio", (Series("_$x_模型.tflite $", (Point(0, 1.0, False),)),), (_START,)),
    ],
)
def test_any_figure_is_drawn_and_twice_the_same(tmp_path: Path, drawn: Plot) -> None:
    pytest.importorskip("matplotlib")
    for name in ("a.svg", "b.svg", "a.png", "b.png"):
        save_figure(drawn, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_figure_names_every_series_also_odd_ones(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    two = Plot("ratio", tuple(Series(name, (Point(0, 1.0, False),)) for name in ("_hidden", "a$b$c")), (_START,))
    save_figure(two, tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text()
    assert "<!-- ./_hidden -->" in text
    assert "<!-- a$b$c -->" in text or "<!-- a\\$b\\$c -->" in text
    assert "<!-- not valid (throttled, not settled, or not every round was measured) -->" in text


def test_a_figure_that_cannot_be_written_keeps_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    from edgekit.errors import HistoryError

    pytest.importorskip("matplotlib")
    with pytest.raises(HistoryError, match=r"folder\.png: cannot be written"):
        save_figure(plot([1.0]), tmp_path / "folder.png")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_a_figure_is_not_written_through_a_link_that_waits_beside_it(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "victim").write_text("precious")
    (tmp_path / f".plot.svg.{os.getpid()}").symlink_to(tmp_path / "victim")
    save_figure(plot([1.0]), tmp_path / "plot.svg")
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize(("text", "ago"), [("90min", 5400), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600)])
def test_since_how_long_ago(text: str, ago: int) -> None:
    assert abs((datetime.now(UTC) - parse_since(text)).total_seconds() - ago) < 60


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7 days", "2026-13-01", "999999w", "0001-01-01"])
def test_since_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--since"):
        parse_since(text)


def test_a_folder_or_a_missing_file_is_only_a_name(tmp_path: Path) -> None:
    assert select(artifact=str(tmp_path)) == Selection(artifact=str(tmp_path))
    assert select(artifact="missing.tflite") == Selection(artifact="missing.tflite")
