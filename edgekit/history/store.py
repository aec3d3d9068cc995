"""The history of benchmarks: one SQLite file that several processes may append to at once."""

import json
import os
import re
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from edgekit.benchmarking.results import Report, Result
from edgekit.errors import HistoryError, nearest
from edgekit.history.schema import reading, writing
from edgekit.history.selection import Run, Selection, bindable, select_runs, spell_time

_LAST = re.compile(r"last(?:~(\d{1,9}))?")

_FIGURES = (
    "path",
    "sha256",
    "bytes",
    "runtime",
    "runtime_version",
    "runner",
    "delegate",
    "threads",
    "runs",
    "median_ms",
    "p90_ms",
    "p99_ms",
    "cv",
    "ratio",
    "load_ms",
    "first_ms",
    "peak_memory_bytes",
    "accelerated_ops",
    "total_ops",
    "throttled",
    "valid",
)
_STATES = ("governor", "frequency_mhz", "temperature_c", "thermal_status")


def default_path() -> Path:
    """``$EDGEKIT_HISTORY``, else ``edgekit/history.sqlite3`` in ``$XDG_DATA_HOME`` or ``~/.local/share``."""
    if given := os.environ.get("EDGEKIT_HISTORY"):
        return Path(given)
    folder = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not folder.is_absolute():  # the XDG specification: a relative one is to be ignored
        try:
            folder = Path.home() / ".local" / "share"
        except RuntimeError:
            raise HistoryError("no home folder for the history; set EDGEKIT_HISTORY to a file") from None
    return folder / "edgekit" / "history.sqlite3"


class History:
    """The runs in the file at ``path``, which is created by the first ``record``. All methods raise HistoryError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self, report: Report) -> None:
        """Write a run with the results that it has so far, in place of what was written of it before.

        All of it is written or nothing is. A benchmark goes on when this raises HistoryError (a full disk, no
        permission, ...), and says so.
        """
        with writing(self.path) as connection:
            connection.execute("DELETE FROM runs WHERE run_id = ?", (bindable(report.run_id),))
            _insert(connection, "runs", _run_columns(report))
            for position, result in enumerate(report.results):
                key = {"run_id": report.run_id, "position": position}
                _insert(connection, "results", key | _result_columns(result))

    def find(self, reference: str) -> str:
        """The id of a run: ``last``, ``last~1`` (the one before), an id or its unambiguous beginning."""
        with reading(self.path) as connection:
            if connection is None:
                raise HistoryError(f"{self.path}: no run yet; edgekit benchmark ARTIFACT... records one")
            if back := _LAST.fullmatch(reference):
                return self._nth(connection, int(back[1] or 0))
            return self._by_beginning(connection, reference)

    def document(self, reference: str) -> dict[str, Any]:
        """The whole document of a run, as ``edgekit benchmark --json`` printed it."""
        run_id = self.find(reference)
        with reading(self.path) as connection:
            found = _document(connection, run_id) if connection else None
        if found is None:
            raise HistoryError(f'{self.path}: run "{run_id}" was deleted meanwhile')
        return found

    def runs(self, selection: Selection | None = None, *, limit: int | None = None) -> list[Run]:
        """The runs with something selected, newest first, at most ``limit``."""
        with reading(self.path) as connection:
            return select_runs(connection, selection or Selection(), limit) if connection else []

    def delete(self, run_ids: Sequence[str]) -> None:
        """Remove these runs (whole ids) and their results."""
        with writing(self.path) as connection:
            connection.executemany("DELETE FROM runs WHERE run_id = ?", [(each,) for each in run_ids])

    def beyond(self, keep: int) -> list[str]:
        """The ids of all runs but the newest ``keep`` of each device."""
        query = (
            "SELECT run_id FROM (SELECT run_id, row_number() OVER (PARTITION BY device, device_kind "
            "ORDER BY started DESC, rowid DESC) AS age FROM runs) WHERE age > ?"
        )
        with reading(self.path) as connection:
            return [row["run_id"] for row in connection.execute(query, (keep,))] if connection else []

    def _nth(self, connection: sqlite3.Connection, back: int) -> str:
        query = "SELECT run_id FROM runs ORDER BY started DESC, rowid DESC LIMIT 1 OFFSET ?"
        row = connection.execute(query, (back,)).fetchone()
        if row is None:
            count = connection.execute("SELECT count(*) FROM runs").fetchone()[0]
            raise HistoryError(f"{self.path}: no run last~{back}; it has {count}")
        return str(row["run_id"])

    def _by_beginning(self, connection: sqlite3.Connection, reference: str) -> str:
        known = [str(row["run_id"]) for row in connection.execute("SELECT run_id FROM runs ORDER BY started DESC")]
        found = [each for each in known if each.startswith(reference)] if reference else []
        if reference in known or len(found) == 1:
            return reference if reference in known else found[0]
        if found:
            raise HistoryError(
                f'{self.path}: {len(found)} runs begin with "{reference}" ({found[0]}, {found[1]}, ...); '
                "expected more of the id"
            )
        raise HistoryError(f'{self.path}: no run "{reference}"{nearest(reference, known)}; edgekit history lists them')


def _document(connection: sqlite3.Connection, run_id: str) -> dict[str, Any] | None:
    row = connection.execute("SELECT document FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        return None
    results = connection.execute("SELECT document FROM results WHERE run_id = ? ORDER BY position", (run_id,))
    document: dict[str, Any] = json.loads(row["document"])
    document["results"] = [json.loads(result["document"]) for result in results]
    return document


def _run_columns(report: Report) -> dict[str, Any]:
    device = report.device
    return {
        "run_id": report.run_id,
        "started": spell_time(datetime.fromisoformat(report.started)),
        "complete": report.complete,
        "device": device.name,
        "device_kind": device.kind,
        "device_model": device.model,
        "soc": device.soc,
        "abi": device.abi,
        "os": device.os,
        "fingerprint": device.fingerprint,
        "settings": json.dumps(dict(report.settings)),
        "environment": json.dumps(dict(report.environment)),
        "document": json.dumps(report.to_json() | {"results": []}),
    }


def _result_columns(result: Result) -> dict[str, Any]:
    low, high = result.ratio_ci or (None, None)
    return (
        {name: getattr(result, name) for name in _FIGURES}
        | {name: getattr(result.state, name) for name in _STATES}
        | {"name": Path(result.path).name, "ratio_low": low, "ratio_high": high}
        | {"document": json.dumps(result.to_json())}
    )


def _insert(connection: sqlite3.Connection, table: str, columns: dict[str, Any]) -> None:
    holes = ", ".join("?" * len(columns))
    values = [bindable(value) for value in columns.values()]
    connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({holes})", values)
