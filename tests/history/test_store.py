import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from edgekit.benchmarking.results import Report
from edgekit.errors import HistoryError
from edgekit.history.documents import parse_report
from edgekit.history.selection import Selection
from edgekit.history.store import History, default_path
from tests.history.reports import REPORTS, report, result

_NOBODY = 65534


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "data" / "history.sqlite3")


def day(number: int, **changes: object) -> Report:
    """A run of the November day ``number``."""
    return report(f"202611{number:02}-0900-{number:04}", started=f"2026-11-{number:02}T09:00:00Z", **changes)  # type: ignore[arg-type]


def python(script: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload,no-any-return]


def test_a_run_is_there_as_it_was_recorded(history: History) -> None:
    recorded = report(results=[result("früh/模型.tflite"), result("b.onnx", runtime="onnxruntime", delegate=None)])
    history.record(recorded)
    assert history.document("last") == json.loads(json.dumps(recorded.to_json()))


@given(REPORTS)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_report_comes_back(tmp_path: Path, recorded: Report) -> None:
    history = History(tmp_path / "history.sqlite3")
    history.path.unlink(missing_ok=True)
    history.record(recorded)
    document = history.document("last")
    assert json.dumps(document) == json.dumps(recorded.to_json())
    assert json.dumps(parse_report(document, "history").to_json()) == json.dumps(recorded.to_json())
    assert len(history.runs()[0].measurements) == len(recorded.results)


def test_recording_again_replaces_the_run(history: History) -> None:
    history.record(report(results=[], complete=False))
    history.record(report(results=[result(), result("b.tflite")], complete=False))
    history.record(report(results=[result(median_ms=3.0)]))
    [run] = history.runs()
    assert run.complete
    assert [each.median_ms for each in run.measurements] == [3.0]


def test_every_figure_can_be_queried_with_its_device_settings_and_environment(history: History) -> None:
    history.record(report())
    with sqlite3.connect(history.path) as connection:
        connection.row_factory = sqlite3.Row
        row = dict(connection.execute("SELECT * FROM measurements").fetchone())
    expected = {
        "name": "toy.tflite",
        "bytes": 4096,
        "runtime": "litert",
        "runtime_version": "2.3.0",
        "delegate": "xnnpack",
        "threads": 1,
        "median_ms": 2.0,
        "ratio_low": 0.99,
        "ratio_high": 1.01,
        "peak_memory_bytes": 9_000_000,
        "governor": "performance",
        "device": "board",
        "soc": "S922X",
    }
    assert {key: row[key] for key in expected} == expected
    assert json.loads(row["settings"]) == {"quick": False, "rounds": 8}
    assert json.loads(row["environment"])["ai-edge-litert"] == "2.3.0"


def test_runs_are_listed_newest_first_and_limited(history: History) -> None:
    for number in (2, 4, 1, 3):
        history.record(day(number))
    assert [run.started.day for run in history.runs()] == [4, 3, 2, 1]
    assert [run.started.day for run in history.runs(limit=2)] == [4, 3]


def test_offsets_are_compared_as_moments(history: History) -> None:
    history.record(report("early", started="2026-11-01T10:00:00+09:00"))
    history.record(report("late", started="2026-11-01T02:00:00+00:00"))
    assert [run.run_id for run in history.runs()] == ["late", "early"]


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (Selection(), [(3, 2), (2, 1), (1, 0)]),
        (Selection(device="S922"), [(2, 1), (1, 0)]),
        (Selection(device="PIXEL"), [(3, 2)]),
        (Selection(artifact="x86-64/toy"), [(2, 1)]),
        (Selection(artifact="cd" * 4), [(3, 1)]),
        (Selection(artifact="cd"), []),
        (Selection(artifact="none", sha256="cd" * 32), [(3, 1)]),
        (Selection(runtime="mnn"), [(3, 1)]),
        (Selection(since=datetime(2026, 11, 2, 9, tzinfo=UTC)), [(3, 2), (2, 1)]),
        (Selection(device="pixel", runtime="litert"), [(3, 1)]),
        (Selection(artifact="' OR 1 --"), []),
        (Selection(device="%"), []),
    ],
)
def test_selections(history: History, selection: Selection, found: list[tuple[int, int]]) -> None:
    phone = report().device.__class__("phone", "adb", model="Pixel 8")
    history.record(day(1, results=[]))
    history.record(day(2))
    history.record(day(3, device=phone, results=[result("a.tflite"), result("b.mnn", runtime="mnn", sha256="cd" * 32)]))
    assert [(run.started.day, len(run.measurements)) for run in history.runs(selection)] == found


def test_a_run_is_found_by_its_beginning_and_from_the_end(history: History) -> None:
    for number in (1, 2, 13):
        history.record(day(number))
    assert history.find("last") == history.find("last~0") == "20261113-0900-0013"
    assert history.find("last~2") == "20261101-0900-0001"
    assert history.find("2026111") == "20261113-0900-0013"
    history.record(report("2026111"))
    assert history.find("2026111") == "2026111"


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("last~3", "no run last~3; it has 2"),
        ("202611", '2 runs begin with "202611" (20261102-0900-0002, 20261101-0900-0001, ...); expected more'),
        ("20261101-0900-0007", 'did you mean "20261101-0900-0001"?'),
        ("", 'no run ""'),
        ("x' OR '1", "no run"),
    ],
)
def test_a_run_that_is_not_there(history: History, reference: str, told: str) -> None:
    history.record(day(1))
    history.record(day(2))
    with pytest.raises(HistoryError) as caught:
        history.find(reference)
    assert told in str(caught.value)
    assert str(history.path) in str(caught.value)


def test_without_a_file_there_are_no_runs_and_none_is_made(history: History) -> None:
    assert history.runs() == []
    assert history.beyond(0) == []
    with pytest.raises(HistoryError, match="no run yet; edgekit benchmark"):
        history.find("last")
    assert not history.path.parent.exists()


def test_an_empty_file_is_an_empty_history(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite3")
    history.path.touch()
    assert history.runs() == []
    history.record(report())
    assert len(history.runs()) == 1


def test_deleting_gives_the_room_back(history: History) -> None:
    for number in range(1, 21):
        history.record(day(number, settings={"text": "x" * 20_000}))
    before = history.path.stat().st_size
    old = history.beyond(5)
    history.delete(old)
    assert len(old) == 15
    assert [run.started.day for run in history.runs()] == [20, 19, 18, 17, 16]
    assert history.path.stat().st_size < before / 2


def test_runs_to_keep_are_counted_per_device(history: History) -> None:
    phone = report().device.__class__("phone", "adb")
    for number in (1, 2, 3):
        history.record(day(number))
    history.record(report("phone", device=phone, started="2026-10-01T00:00:00Z"))
    assert history.beyond(1) == ["20261102-0900-0002", "20261101-0900-0001"]


_RECORD = """
import dataclasses, sys
from pathlib import Path
from edgekit.history.store import History
from tests.history.reports import report, result
history, name, count = History(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
for number in range(count):
    history.record(report(f"{name}-{number}", results=[result()] * 3, settings={"text": "x" * 50_000}))
    print(number, flush=True)
"""


def test_processes_append_at_once(history: History) -> None:
    writers = [python(_RECORD, history.path, f"writer{number}", 15) for number in range(3)]
    for writer in writers:
        errors = writer.communicate(timeout=60)[1]
        assert writer.returncode == 0, errors
    runs = history.runs()
    assert {run.run_id for run in runs} == {f"writer{one}-{two}" for one in range(3) for two in range(15)}
    assert all(len(run.measurements) == 3 for run in runs)


def test_a_killed_writer_leaves_what_it_had_recorded(history: History) -> None:
    for attempt in range(3):
        with python(_RECORD, history.path, f"writer{attempt}", 100_000) as writer:
            assert writer.stdout is not None
            told = [writer.stdout.readline() for _ in range(3 + attempt)]
            writer.send_signal(signal.SIGKILL)
        recorded = {run.run_id for run in history.runs() if len(run.measurements) == 3}
        assert {f"writer{attempt}-{int(number)}" for number in told} <= recorded
        with sqlite3.connect(history.path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_failing_record_leaves_the_run_as_it_was(history: History) -> None:
    history.record(report())
    with pytest.raises(TypeError):  # found only after the run's row was replaced
        history.record(report(results=[result(), result(path=None)]))  # type: ignore[arg-type]
    assert len(history.document("last")["results"]) == 1


def test_a_full_disk_is_one_line_and_keeps_the_runs(history: History) -> None:
    history.record(report())
    script = "import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n" + _RECORD
    with python(script, history.path, "large", 3) as writer:
        told = writer.communicate(timeout=60)[1].splitlines()[-1]
    assert "edgekit.errors.HistoryError" in told
    assert "make room on the disk or set EDGEKIT_HISTORY" in told
    assert [run.run_id for run in history.runs()] == [report().run_id]


def test_a_newer_schema_is_refused_and_left_alone(history: History) -> None:
    history.record(report())
    with sqlite3.connect(history.path) as connection:
        connection.execute("PRAGMA user_version = 2")
    before = history.path.read_bytes()
    for act in (history.runs, lambda: history.record(report("other"))):
        with pytest.raises(HistoryError, match=r"schema 2; this one reads 1\); upgrade edgekit"):
            act()
    assert history.path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(history: History) -> None:
    history.path.parent.mkdir()
    with sqlite3.connect(history.path) as connection:
        connection.execute("CREATE TABLE runs (x)")
    before = history.path.read_bytes()
    with pytest.raises(HistoryError, match="another program"):
        history.record(report())
    assert history.path.read_bytes() == before


@pytest.mark.parametrize("content", [b"this is no database, not at all " * 40, bytes(5000)])
def test_what_is_no_database_is_one_line(history: History, content: bytes) -> None:
    history.path.parent.mkdir()
    history.path.write_bytes(content)
    for act in (history.runs, lambda: history.record(report())):
        with pytest.raises(HistoryError) as caught:
            act()
        assert "not a history of edgekit, or damaged" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert history.path.read_bytes() == content


def test_a_damaged_history_is_one_line(history: History) -> None:
    for number in range(1, 20):
        history.record(day(number))
    content = bytearray(history.path.read_bytes())
    content[2048:] = os.urandom(len(content) - 2048)
    history.path.write_bytes(content)
    with pytest.raises(HistoryError, match="damaged"):
        history.runs()


@pytest.mark.parametrize("place", ["folder", "file/history.sqlite3"])
def test_a_place_that_cannot_be_is_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(HistoryError, match="set EDGEKIT_HISTORY to another file"):
        History(tmp_path / place).record(report())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody who may not write")
def test_a_read_only_history_can_be_read_and_not_written() -> None:
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom edgekit.history.store import History\n"
        "from tests.history.reports import report\n"
        f"os.seteuid({_NOBODY})\nhistory = History(Path(sys.argv[1]))\n"
        "print(len(history.runs()))\nhistory.record(report('other'))\n"
    )
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        history = History(Path(folder) / "history.sqlite3")
        history.record(report())
        Path(folder).chmod(0o755)
        with python(script, history.path) as process:
            out, told = process.communicate(timeout=60)
    assert out == "1\n", told
    assert f"HistoryError: {history.path}: cannot be opened or written" in told.splitlines()[-1]


def test_another_programs_lock_is_waited_for(history: History) -> None:
    history.record(report())
    script = (
        "import sqlite3, sys, time\nconnection = sqlite3.connect(sys.argv[1])\n"
        "connection.execute('BEGIN EXCLUSIVE')\nprint('locked', flush=True)\ntime.sleep(0.5)\nconnection.rollback()\n"
    )
    with python(script, history.path) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
        history.record(report("waited"))
    assert len(history.runs()) == 2


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"EDGEKIT_HISTORY": "mine.db", "XDG_DATA_HOME": "/data"}, "mine.db"),
        ({"EDGEKIT_HISTORY": "", "XDG_DATA_HOME": "/data"}, "/data/edgekit/history.sqlite3"),
        ({"XDG_DATA_HOME": "relative"}, "/home/me/.local/share/edgekit/history.sqlite3"),
        ({}, "/home/me/.local/share/edgekit/history.sqlite3"),
    ],
)
def test_default_path(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str) -> None:
    for name in ("EDGEKIT_HISTORY", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "/home/me"} | variables).items():
        monkeypatch.setenv(name, value)
    assert default_path() == Path(expected)


def test_since_is_a_moment(history: History) -> None:
    history.record(day(5))
    moment = datetime(2026, 11, 5, 9, tzinfo=UTC)
    assert history.runs(Selection(since=moment + timedelta(microseconds=1))) == []
    assert len(history.runs(Selection(since=moment))) == 1
