import copy
import json
from pathlib import Path
from typing import Any

import pytest

from edgekit.errors import HistoryError
from edgekit.history.documents import find_report, only, parse_report, read_report
from edgekit.history.store import History
from tests.history.reports import report, result


@pytest.fixture
def history(tmp_path: Path) -> History:
    history = History(tmp_path / "history.sqlite3")
    history.record(report("20261101-090000-aaaa", started="2026-11-01T09:00:00Z"))
    history.record(report("20261102-090000-bbbb", [result(), result("b.onnx")], started="2026-11-02T09:00:00Z"))
    return history


def document() -> dict[str, Any]:
    copied: dict[str, Any] = json.loads(json.dumps(report().to_json()))
    return copied


def write(folder: Path, content: object) -> Path:
    path = folder / "old.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_file_of_results_is_read(tmp_path: Path) -> None:
    assert read_report(write(tmp_path, document())) == report()


def test_unknown_keys_and_missing_optional_ones_do_not_matter(tmp_path: Path) -> None:
    changed = document() | {"compared": {}}
    changed["results"][0] |= {"new_figure": 1}
    for key in ("p90_ms", "round_medians_ms", "profile", "runtime_version"):
        del changed["results"][0][key]
    del changed["results"][0]["state"]["after"]
    [read] = parse_report(changed, "old.json").results
    assert read.p90_ms is None
    assert read.round_medians_ms == ()
    assert read.state.governor == "performance"
    assert read.state_after.governor is None


@pytest.mark.parametrize(
    ("where", "value", "told"),
    [
        (("results",), {}, '"results" is {}; expected a list'),
        (("results", 0), 3, '"results[0]" is 3; expected an object'),
        (("results", 0, "median_ms"), "fast", "\"results[0].median_ms\" is 'fast'; expected a number"),
        (("results", 0, "median_ms"), None, '"results[0].median_ms" is None; expected a number'),
        (("results", 0, "median_ms"), True, '"results[0].median_ms" is True; expected a number'),
        (("results", 0, "median_ms"), 10**400, '"results[0].median_ms" is'),
        (("results", 0, "threads"), 1.5, '"results[0].threads" is 1.5; expected a whole number'),
        (("results", 0, "valid"), 1, '"results[0].valid" is 1; expected true or false'),
        (("results", 0, "ratio_ci"), [1.0], '"results[0].ratio_ci" is [1.0]; expected a list of 2'),
        (("results", 0, "ratio_ci"), [1.0, "x"], "\"results[0].ratio_ci[1]\" is 'x'; expected a number"),
        (("results", 0, "state"), [], '"results[0].state" is []; expected an object'),
        (("results", 0, "state", "after"), 7, '"results[0].state.after" is 7; expected an object'),
        (("results", 0, "path"), ["x" * 100], "...; expected a text"),
        (("device", "name"), None, '"device.name" is None; expected a text'),
        (("environment",), {"numpy": 2}, '"environment.numpy" is 2; expected a text'),
        (("started",), "yesterday", "\"started\" is 'yesterday'; expected a date and time"),
        (("schema",), 2, '"schema" is 2; this edgekit reads 1'),
    ],
)
def test_a_wrong_value_is_named_with_its_key(tmp_path: Path, where: tuple[Any, ...], value: object, told: str) -> None:
    changed = document()
    inner: Any = changed
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    path = tmp_path / "old.json"
    with pytest.raises(HistoryError) as caught:
        parse_report(changed, str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["run", "started", "device", "settings"])
def test_a_missing_key_is_named(key: str) -> None:
    changed = document()
    del changed[key]
    with pytest.raises(HistoryError, match=f'old: missing key "{key}"; expected what edgekit benchmark --json prints'):
        parse_report(changed, "old")


def test_any_cut_off_or_replaced_value_is_one_error_or_none() -> None:
    """Whatever one value of the document becomes, it is read or refused with the key, and nothing else is raised."""
    for path in list(paths(document())):
        for value in (None, "x", -1, [], {}, [None], {"a": None}):
            changed = copy.deepcopy(document())
            inner: Any = changed
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value
            try:
                parse_report(changed, "old")
            except HistoryError as error:
                assert str(error).startswith("old: ")


def paths(value: Any, prefix: tuple[Any, ...] = ()) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*prefix, key)
        yield from paths(inner, (*prefix, key))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"results": ' + "1" * 5000 + "}", "not JSON"),
        ("[]", 'no key "results"'),
        ({"schema": 1, "artifacts": []}, 'no key "results"; expected what edgekit benchmark --json prints'),
        ({"schema": 1, "error": {"message": "no device", "exit_code": 6}}, "(it has an error: no device)"),
    ],
)
def test_what_is_no_document_is_one_line(tmp_path: Path, content: object, told: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(HistoryError) as caught:
        read_report(path)
    assert str(path) in str(caught.value)
    assert told in str(caught.value)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b'{"results": "\xff"}')
    for name, told in (("missing.json", "no such file"), (".", "cannot be read"), ("latin.json", "not JSON")):
        with pytest.raises(HistoryError, match=told):
            read_report(tmp_path / name)


def test_a_reference_is_a_file_a_run_or_one_result(tmp_path: Path, history: History) -> None:
    path = write(tmp_path, document())
    assert find_report("last", history).report.run_id == "20261102-090000-bbbb"
    assert find_report("20261101", history).position is None
    assert find_report("last:1", history).results == {1: result("b.onnx")}
    assert find_report(f"{path}:0", history).results == {0: result()}
    assert find_report(str(path), history).report == report()
    assert only(find_report("last:1", history)).results == (result("b.onnx"),)


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("last:2", "last:2: no such result; last has 2, counted from 0"),
        ("last:x", 'no run "last:x"'),
        ("nothing.json", "nothing.json: no such file"),
        ("nothing.json:0", "nothing.json: no such file"),
        ("dist/nothing", "dist/nothing: no such file"),
    ],
)
def test_a_reference_to_nothing(history: History, reference: str, told: str) -> None:
    with pytest.raises(HistoryError) as caught:
        find_report(reference, history)
    assert told in str(caught.value)


def test_a_damaged_run_names_the_file_and_the_run(history: History) -> None:
    import sqlite3

    with sqlite3.connect(history.path) as connection:
        connection.execute("UPDATE results SET document = '{}' WHERE run_id LIKE '%aaaa'")
    with pytest.raises(HistoryError) as caught:
        find_report("20261101", history)
    assert f'{history.path}: run 20261101-090000-aaaa: missing key "results[0].path"' in str(caught.value)
