"""``edgekit history`` as a user has it: its exit code, and what it prints where."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edgekit.benchmarking.executors import DeviceFacts
from edgekit.cli import main
from edgekit.history.store import History
from tests.history.reports import report, result

_PNG = b"\x89PNG\r\n\x1a\n"


class Edgekit:
    """Runs ``edgekit history`` in this process, which is quick; ``process`` starts a real one."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, history: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
        self._monkeypatch.setenv("EDGEKIT_HISTORY", str(history))
        command = ["history", *map(str, arguments)]
        with pytest.raises(SystemExit) as stopped:
            main(command)
        written = self._capsys.readouterr()
        return subprocess.CompletedProcess(command, int(stopped.value.code or 0), written.out, written.err)


@pytest.fixture
def edgekit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Edgekit]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.MonkeyPatch.context() as zone:
        zone.setenv("TZ", "UTC")
        time.tzset()
        yield Edgekit(capsys, monkeypatch)
    time.tzset()
    for number, handler in handlers.items():
        signal.signal(number, handler)


def process(history: Path, *arguments: object, hide: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """The same as a process of its own, where the module ``hide`` is not installed."""
    script = f"import sys\nsys.modules[{hide!r}] = None\nfrom edgekit.cli import main\nmain(sys.argv[1:])\n"
    environment = os.environ | {"EDGEKIT_HISTORY": str(history), "TZ": "UTC"} | variables
    command = [sys.executable, *(["-c", script] if hide else ["-m", "edgekit"]), "history", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def error_of(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line that an error is."""
    assert done.returncode == code, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("edgekit: error: ")
    return line


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs: two on a board, where the second is slower, then one on a phone."""
    path = tmp_path_factory.mktemp("history") / "history.sqlite3"
    onnx = result("dist/[x]/toy.onnx", 3.0, runtime="onnxruntime", delegate=None, sha256="cd" * 32)
    phone = DeviceFacts("phone", "adb", model="Pixel 8")
    throttled = result(throttled=True, valid=False)
    for written in (
        report("20261101-090000-aaaa", [result(), onnx], started="2026-11-01T09:00:00Z"),
        report("20261102-090000-bbbb", [result(median_ms=2.4), onnx], started="2026-11-02T09:00:00Z"),
        report("20261103-090000-cccc", [throttled], started="2026-11-03T09:00:00Z", device=phone),
    ):
        History(path).record(written)
    return path


def test_it_lists_the_newest_first(edgekit: Edgekit, recorded: Path) -> None:
    done = edgekit(recorded)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    runs = [line for line in lines if line.startswith("2026")]
    assert [line[:20] for line in runs] == ["20261103-090000-cccc", "20261102-090000-bbbb", "20261101-090000-aaaa"]
    assert "phone (Pixel 8)" in runs[0] and "2026-11-03 09:00" in runs[0]
    assert any("[x]/toy.onnx" in line and ":1" in line and "3.000" in line for line in lines)
    assert sum("throttled" in line for line in lines) == 1


def test_a_newline_in_a_name_splits_no_row(edgekit: Edgekit, tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite3"
    History(path).record(report("odd", [result("dist/a\nb.tflite"), result("dist/plain.tflite")]))
    lines = edgekit(path).stdout.splitlines()
    rows = [line for line in lines if ".tflite" in line]
    assert len(lines) == 4 and len(rows) == 2 and r"a\nb.tflite" in rows[0]
    assert rows[0].index("litert") == rows[1].index("litert"), "the escaped name has its width"
    assert sum(r"a\nb.tflite" in line for line in edgekit(path, "show", "odd").stdout.splitlines()) >= 2


def test_a_run_of_which_throttling_is_not_known_is_listed_so(edgekit: Edgekit, tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite3"
    History(path).record(report("odd", [result(throttled=None)]))
    document = json.loads(edgekit(path, "--json").stdout)
    assert document["runs"][0]["results"][0]["throttled"] is None
    assert "throttled" not in edgekit(path).stdout
    assert "throttling unknown" in edgekit(path, "show", "odd").stdout


@pytest.mark.parametrize(
    ("flags", "runs"),
    [
        (("--limit", "1"), ["cccc"]),
        (("--device", "pixel"), ["cccc"]),
        (("--runtime", "onnxruntime"), ["bbbb", "aaaa"]),
        (("--artifact", "cdcdcd"), ["bbbb", "aaaa"]),
        (("--since", "2026-11-02T12:00"), ["cccc"]),
        (("list", "--since", "2026-11-02", "-n", "5"), ["cccc", "bbbb"]),
    ],
)
def test_it_lists_what_is_asked_for(edgekit: Edgekit, recorded: Path, flags: tuple[str, ...], runs: list[str]) -> None:
    document = json.loads(edgekit(recorded, *flags, "--json").stdout)
    assert [run["run"][-4:] for run in document["runs"]] == runs
    assert document["history"] == str(recorded)


def test_an_artifact_is_found_by_its_content(edgekit: Edgekit, recorded: Path, tmp_path: Path) -> None:
    import hashlib

    other = tmp_path / "renamed.tflite"
    other.write_bytes(b"model")
    history = tmp_path / "history.sqlite3"
    History(history).record(report(results=[result(sha256=hashlib.sha256(b"model").hexdigest())]))
    assert json.loads(edgekit(history, "--artifact", other, "--json").stdout)["runs"]
    assert not json.loads(edgekit(recorded, "--artifact", other, "--json").stdout)["runs"]


def test_no_history_says_how_to_get_one(edgekit: Edgekit, tmp_path: Path) -> None:
    for arguments in ((), ("plot",)):
        done = edgekit(tmp_path / "none.sqlite3", *arguments)
        assert (done.returncode, done.stdout) == (0, "")
        assert "none.sqlite3: no benchmarks yet; edgekit benchmark ARTIFACT..." in done.stderr
    assert json.loads(edgekit(tmp_path / "none.sqlite3", "--json").stdout)["runs"] == []
    assert "no run yet; edgekit benchmark" in error_of(edgekit(tmp_path / "none.sqlite3", "show", "last"), 3)


def test_nothing_found_says_what_there_is(edgekit: Edgekit, recorded: Path) -> None:
    done = edgekit(recorded, "--runtime", "tflite")
    assert done.returncode == 0
    assert "no run matches; it has runs of the devices board, phone and the runtimes litert, onnxruntime" in done.stderr


def test_show_prints_what_was_recorded(edgekit: Edgekit, recorded: Path) -> None:
    document = json.loads(edgekit(recorded, "show", "20261102", "--json").stdout)
    assert document["run"] == "20261102-090000-bbbb"
    assert [each["median_ms"] for each in document["results"]] == [2.4, 3.0]
    assert len(json.loads(edgekit(recorded, "show", "last~1:1", "--json").stdout)["results"]) == 1
    shown = edgekit(recorded, "show", "last~1").stdout
    for part in ("2.400", "[x]/toy.onnx", "ai-edge-litert", "governor performance", "cd" * 32, "measured on board"):
        assert part in shown


def test_show_copes_with_a_path_that_is_no_utf8(edgekit: Edgekit, tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite3")
    history.record(report(results=[result("caf\udce9.tflite")]))
    for arguments in (("show", "last"), (), ("plot",), ("compare", "last", "last")):
        done = edgekit(history.path, *arguments)
        assert done.returncode == 0, done.stderr
        assert "caf\\udce9.tflite" in done.stdout
    document = json.loads(process(history.path, "show", "last", "--json").stdout)
    assert document["results"][0]["path"] == "caf\udce9.tflite"


def test_compare_tells_ratio_verdict_and_that_runs_were_not_interleaved(edgekit: Edgekit, recorded: Path) -> None:
    done = edgekit(recorded, "compare", "last~2", "last~1")
    assert done.returncode == 0, done.stderr
    [slower] = [line for line in done.stdout.splitlines() if "litert/xnnpack" in line]
    assert "2.000" in slower and "2.400" in slower and "1.200 [1.1" in slower and slower.endswith("slower")
    assert "no clear difference" in done.stdout
    assert "not measured in turns but at 2026-11-01T09:00:00 and 2026-11-02T09:00:00" in done.stdout


def test_compare_as_json(edgekit: Edgekit, recorded: Path) -> None:
    document = json.loads(edgekit(recorded, "compare", "last~2", "last~1", "--json").stdout)
    assert document["interleaved"] is False
    assert document["old"] == {
        "run": "20261101-090000-aaaa",
        "started": "2026-11-01T09:00:00Z",
        "complete": True,
        "device": "board",
    }
    first = document["comparisons"][0]
    assert (first["name"], first["verdict"], first["new"]["median_ms"]) == ("toy.tflite", "slower", 2.4)
    assert first["ratio"] == pytest.approx(1.2)


def test_compare_takes_files_and_single_results(edgekit: Edgekit, recorded: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text(edgekit(recorded, "show", "last~2", "--json").stdout)
    document = json.loads(edgekit(recorded, "compare", f"{old}:1", "last~1:0", "--json").stdout)
    assert document["comparisons"][0]["ratio"] == pytest.approx(0.8)
    assert document["comparisons"][0]["old"]["index"] == 1


def test_the_gate_is_exit_5(edgekit: Edgekit, recorded: Path) -> None:
    assert edgekit(recorded, "compare", "last~2", "last~1", "--fail-above", "1.25").returncode == 0
    done = process(recorded, "compare", "last~2", "last~1", "--fail-above", "1.05")
    assert done.stdout  # the table is there all the same
    assert "dist/x86-64/toy.tflite: 2 -> 2.4 ms is 1.200x" in error_of(done, 5)
    failed = edgekit(recorded, "compare", "last~2", "last", "--fail-above", "1.05", "--json")
    assert json.loads(failed.stdout)["error"]["exit_code"] == 5
    assert "throttled" in error_of(failed, 5)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("show", "2026110"), 3, "3 runs begin with"),
        (("show", "last:7"), 3, "no such result"),
        (("compare", "last", "nothing.json"), 3, "nothing.json: no such file"),
        (("compare", "last~1:1", "last"), 3, "no file name, runtime, delegate and threads in common"),
        (("compare", "last", "last", "--fail-above", "0"), 2, "--fail-above"),
        (("--since", "yesterday"), 2, "--since yesterday: expected a date like 2026-11-01"),
        (("--limit", "0"), 2, "--limit"),
        (("plot", "--metric", "speed"), 2, "median_ms"),
        (("plot", "--out", "plot.pdf"), 2, "plot.pdf: expected a file name that ends in .png or .svg"),
        (("plot", "--out", "/proc/nothing/plot.png"), 3, "/proc/nothing/plot.png: cannot be written"),
        (("delete",), 2, "either runs or --keep"),
        (("delete", "last", "--keep", "1"), 2, "either runs or --keep"),
        (("delete", "20269"), 3, "no run"),
    ],
)
def test_errors_are_one_line(
    edgekit: Edgekit, recorded: Path, arguments: tuple[str, ...], code: int, told: str
) -> None:
    assert told in error_of(edgekit(recorded, *arguments), code)


def test_a_history_that_is_none_is_one_line(edgekit: Edgekit, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("no database " * 100)
    for arguments in ((), ("show", "last"), ("plot",)):
        assert f"{path}: not a history of edgekit, or damaged" in error_of(edgekit(path, *arguments), 3)


def test_runs_are_deleted(edgekit: Edgekit, tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite3")
    for number in range(1, 6):
        history.record(report(f"run{number}", started=f"2026-11-0{number}T09:00:00Z"))
    assert "deleted 2 runs" in edgekit(history.path, "delete", "run2", "last").stderr
    assert [run.run_id for run in history.runs()] == ["run4", "run3", "run1"]
    assert "deleted 2 runs" in edgekit(history.path, "delete", "--keep", "1").stderr
    assert [run.run_id for run in history.runs()] == ["run4"]


def test_a_plot_needs_nothing_but_a_terminal(recorded: Path) -> None:
    done = process(recorded, "plot", hide="matplotlib")
    assert done.returncode == 0, done.stderr
    assert "median latency (ms)" in done.stdout
    assert "x86-64/toy.tflite, litert/xnnpack, 1 thread, board: 2 ms -> 2.4 ms (1.200x in 2 runs)" in done.stdout


@pytest.mark.parametrize("metric", ["median_ms", "p90_ms", "peak_memory_bytes", "ratio"])
def test_every_metric_is_plotted(edgekit: Edgekit, recorded: Path, metric: str) -> None:
    done = edgekit(recorded, "plot", "--metric", metric, "--device", "board")
    assert done.returncode == 0, done.stderr
    assert "2026-11-01 09:00" in done.stdout and "2026-11-02 09:00" in done.stdout


def test_a_plot_as_png_and_svg(recorded: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("plot.PNG", "new/plot.svg"):
        done = process(recorded, "plot", "--out", tmp_path / name, DISPLAY="", MPLBACKEND="tkagg")
        assert done.returncode == 0, done.stderr
        assert f"wrote {tmp_path / name}" in done.stderr
    assert (tmp_path / "plot.PNG").read_bytes().startswith(_PNG)
    assert ElementTree.parse(tmp_path / "new/plot.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "plot.PNG", "plot.svg"]


def test_without_matplotlib_an_image_says_what_to_install(recorded: Path, tmp_path: Path) -> None:
    done = process(recorded, "plot", "--out", tmp_path / "plot.png", hide="matplotlib")
    assert "pip install 'edgekit[plot]'" in error_of(done, 3)
    assert not (tmp_path / "plot.png").exists()


def test_options_of_the_list_before_another_command_are_not_lost(edgekit: Edgekit, recorded: Path) -> None:
    refused = edgekit("history", "--limit", "3", "compare", "last", "last")
    assert refused.returncode == 2
    assert "put them behind compare" in refused.stderr
