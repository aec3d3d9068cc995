"""Which runs and measurements are asked for, and the rows that come back."""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from edgekit.errors import HistoryError, UsageError
from edgekit.files import file_sha256

_LARGEST_INTEGER = 2**63 - 1
_SECONDS = {"min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGO = re.compile(r"([0-9]{1,6})(min|h|d|w)")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which measurements; None is any.

    ``device`` is part of a device's name, model or SoC, ``artifact`` part of a path or the beginning of a sha256,
    ``sha256`` one that counts too (of the file that ``artifact`` names); ``since`` without a time zone is UTC.
    """

    device: str | None = None
    artifact: str | None = None
    sha256: str | None = None
    runtime: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One result's main figures, as they are listed and plotted; ``position`` counts from 0 in its run."""

    position: int
    path: str
    name: str
    sha256: str
    bytes: int | None
    runtime: str
    runtime_version: str | None
    delegate: str | None
    threads: int
    runs: int
    median_ms: float | None
    p90_ms: float | None
    cv: float | None
    ratio: float | None
    peak_memory_bytes: int | None
    throttled: bool | None
    valid: bool


@dataclass(frozen=True, slots=True)
class Run:
    """One recorded run and those of its measurements that were selected; ``started`` is in UTC."""

    run_id: str
    started: datetime
    complete: bool
    device: str
    device_kind: str
    device_model: str | None
    measurements: tuple[Measurement, ...]


_COLUMNS = ", ".join(field.name for field in fields(Measurement))


def select_runs(connection: sqlite3.Connection, selection: Selection, limit: int | None) -> list[Run]:
    """The runs with something selected, newest first, at most ``limit``."""
    clauses = list(_clauses(selection))
    where = " AND ".join(f"({text})" for text, _ in clauses) or "1"
    values = [bindable(value) for _, group in clauses for value in group]
    query = (
        f"SELECT * FROM (SELECT runs.run_id, started, complete, device, device_kind, device_model, {_COLUMNS}, "
        "dense_rank() OVER (ORDER BY started DESC, runs.rowid DESC) AS age "
        f"FROM runs LEFT JOIN results ON results.run_id = runs.run_id WHERE {where}) "
        "WHERE age <= ? ORDER BY age, position"
    )
    rows = connection.execute(query, (*values, limit or _LARGEST_INTEGER)).fetchall()
    return [_run(list(group)) for _, group in groupby(rows, key=lambda row: row["run_id"])]


def select(
    *, device: str | None = None, artifact: str | None = None, runtime: str | None = None, since: str | None = None
) -> Selection:
    """What the flags of ``edgekit history`` ask for. Raises UsageError, and HistoryError for an unreadable artifact."""
    path = None if artifact is None else Path(artifact)
    return Selection(
        device=device,
        artifact=str(path) if path is not None and path.is_file() else artifact,
        sha256=_sha256(path) if path is not None and path.is_file() else None,
        runtime=runtime,
        since=None if since is None else parse_since(since),
    )


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise HistoryError(f"{path}: cannot be read: {error.strerror}; expected an artifact") from error


def parse_since(text: str) -> datetime:
    """``2026-11-01``, ``2026-11-01T18:30`` (local time) or how long ago: ``90min``, ``12h``, ``7d``, ``2w``.

    Raises UsageError.
    """
    try:
        if ago := _AGO.fullmatch(text):
            return datetime.now(UTC) - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"--since {text}: expected a date like 2026-11-01, or 90min, 12h, 7d or 2w") from None


def bindable(value: Any) -> Any:
    """``value`` as a column can hold it; the documents, which are JSON, keep it as it was."""
    if isinstance(value, str):  # a path that is not UTF-8 has lone surrogates
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        return None
    return value


def spell_time(moment: datetime) -> str:
    """A moment as text that sorts: ISO 8601 in UTC with microseconds. Without a time zone it is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="microseconds")


def _clauses(selection: Selection) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Conditions with ``?`` for every value, and their values."""
    if selection.device is not None:
        named = "device || '\n' || ifnull(device_model, '') || '\n' || ifnull(soc, '')"
        yield f"instr(lower({named}), lower(?))", (selection.device,)
    if selection.artifact is not None:
        text = "instr(path, ?) OR (length(?) >= 6 AND instr(sha256, ?) = 1) OR sha256 = ?"
        yield text, (selection.artifact, selection.artifact, selection.artifact, selection.sha256)
    if selection.runtime is not None:
        yield "runtime = ?", (selection.runtime,)
    if selection.since is not None:
        yield "started >= ?", (spell_time(selection.since),)


def _run(rows: Sequence[sqlite3.Row]) -> Run:
    first = rows[0]
    return Run(
        run_id=first["run_id"],
        started=datetime.fromisoformat(first["started"]),
        complete=bool(first["complete"]),
        device=first["device"],
        device_kind=first["device_kind"],
        device_model=first["device_model"],
        measurements=tuple(_measurement(row) for row in rows if row["position"] is not None),
    )


def _measurement(row: sqlite3.Row) -> Measurement:
    values = {field.name: row[field.name] for field in fields(Measurement)}
    throttled = None if row["throttled"] is None else bool(row["throttled"])
    return Measurement(**values | {"throttled": throttled, "valid": bool(row["valid"])})
