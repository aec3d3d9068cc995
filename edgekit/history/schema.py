"""The tables of the history file, how it is opened, and what can be wrong with it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from edgekit.errors import HistoryError

VERSION = 1
_APPLICATION_ID = 0x65646765
"""Marks the file as edgekit's ("edge"), so that no other program's database is written to."""

_BUSY_S = 30.0
"""How long to wait for other processes. A record takes milliseconds, a disk that sleeps or a network home seconds."""

_ELSEWHERE = "or set EDGEKIT_HISTORY to another file"

# The rollback journal, not WAL: WAL needs memory shared by all processes, which network homes do not have.
_CREATE = f"""
CREATE TABLE runs (
  run_id TEXT PRIMARY KEY NOT NULL, started TEXT NOT NULL, complete INTEGER NOT NULL,
  device TEXT NOT NULL, device_kind TEXT NOT NULL, device_model TEXT, soc TEXT, abi TEXT, os TEXT, fingerprint TEXT,
  settings TEXT NOT NULL, environment TEXT NOT NULL, document TEXT NOT NULL);
CREATE INDEX runs_by_start ON runs (started);
CREATE TABLE results (
  run_id TEXT NOT NULL REFERENCES runs ON DELETE CASCADE, position INTEGER NOT NULL,
  path TEXT NOT NULL, name TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER,
  runtime TEXT NOT NULL, runtime_version TEXT, runner TEXT NOT NULL, delegate TEXT, threads INTEGER,
  runs INTEGER, median_ms REAL, p90_ms REAL, p99_ms REAL, cv REAL, ratio REAL, ratio_low REAL, ratio_high REAL,
  load_ms REAL, first_ms REAL, peak_memory_bytes INTEGER, accelerated_ops INTEGER, total_ops INTEGER,
  throttled INTEGER, valid INTEGER NOT NULL,
  governor TEXT, frequency_mhz REAL, temperature_c REAL, thermal_status INTEGER, document TEXT NOT NULL,
  PRIMARY KEY (run_id, position));
CREATE INDEX results_by_artifact ON results (sha256);
CREATE VIEW measurements AS SELECT
  results.*, started, complete, device, device_kind, device_model, soc, abi, os, fingerprint, settings, environment
  FROM results JOIN runs USING (run_id);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """The file for reading, as one consistent state; None when there is no history yet. Raises HistoryError."""
    with _errors_of(path):
        if not path.exists():
            yield None
            return
        with closing(_connect(path, "rw")) as connection:  # SQLite itself reads a file that it may not write
            connection.execute("BEGIN")
            yield connection if _is_ours(connection, path) else None


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """The file in one transaction of its own, created when it is not there: all of it is written or nothing is.

    Raises HistoryError when it cannot be written: no permission, a full disk, not a history, of a newer edgekit.
    """
    with _errors_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(_connect(path, "rwc")) as connection:
            if connection.execute("PRAGMA page_count").fetchone()[0] == 0:
                connection.execute("PRAGMA auto_vacuum = FULL")  # deleted runs give their room back
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN IMMEDIATE")
            if not _is_ours(connection, path):
                for statement in _CREATE.split(";\n"):
                    connection.execute(statement)
            yield connection
            connection.execute("COMMIT")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection


def _is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether it has our tables; false when it is empty."""
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        return False
    if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise HistoryError(f"{path}: an SQLite file of another program; move it away {_ELSEWHERE}")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        raise HistoryError(
            f"{path}: written by a newer edgekit (schema {version}; this one reads {VERSION}); "
            f"upgrade edgekit {_ELSEWHERE}"
        )
    return True


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HistoryError(f"{path}: cannot be opened: {error.strerror}; make it accessible {_ELSEWHERE}") from error
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:  # not from SQLite but a mistake in a statement
            raise
        raise HistoryError(f"{path}: {_explain(code & 0xFF, error)}") from error


def _explain(code: int, error: sqlite3.Error) -> str:
    """What an SQLite result code means for the user."""
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return f"not a history of edgekit, or damaged ({error}); move it away {_ELSEWHERE}"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"another process has kept it locked for {_BUSY_S:.0f} s; try again {_ELSEWHERE}"
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return f"cannot be read or written ({error}); make room on the disk {_ELSEWHERE}"
    return f"cannot be opened or written ({error}); make it and its folder writable {_ELSEWHERE}"
