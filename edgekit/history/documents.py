"""Results read back: from a document of ``edgekit benchmark --json``, or from the history."""

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from edgekit.benchmarking.results import SCHEMA, Report, Result
from edgekit.errors import HistoryError
from edgekit.history.store import History

_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
_EXPECTED = "what edgekit benchmark --json prints"
_NAMES = {"run_id": "run", "state_after": "state.after"}
"""Fields whose key in the document is another word."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a reference means: a report, and which of its results when the reference says one."""

    report: Report
    position: int | None = None

    @property
    def results(self) -> dict[int, Result]:
        """The results that are meant, by their position."""
        return {
            at: result for at, result in enumerate(self.report.results) if self.position is None or at == self.position
        }


def find_report(reference: str, history: History) -> Found:
    """The report that ``reference`` means: a ``.json`` file, a run, or one result of either as ``RUN:INDEX``.

    A run is an id, its unambiguous beginning, ``last`` or ``last~1``. Raises HistoryError.
    """
    head, _, index = reference.rpartition(":")
    if not head or not index.isdecimal() or Path(reference).is_file():
        return Found(_read(reference, history))
    report = _read(head, history)
    if int(index) >= len(report.results):
        raise HistoryError(f"{reference}: no such result; {head} has {len(report.results)}, counted from 0")
    return Found(report, int(index))


def read_report(path: Path) -> Report:
    """The report in a file that ``edgekit benchmark`` wrote. Raises HistoryError, which names the key."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise HistoryError(f"{path}: no such file") from None
    except OSError as error:
        raise HistoryError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # wrong JSON, not UTF-8, a number of a million digits
        raise HistoryError(f"{path}: not JSON ({error}); expected {_EXPECTED}") from None
    return parse_report(document, str(path))


def parse_report(document: object, source: str) -> Report:
    """The report of a document. Keys that are not known are left out. Raises HistoryError with ``source`` and key."""
    if not isinstance(document, dict) or "results" not in document:
        said = document.get("error") if isinstance(document, dict) else None
        what = f" (it has an error: {said['message']})" if isinstance(said, dict) and "message" in said else ""
        raise HistoryError(f'{source}: no key "results"{what}; expected {_EXPECTED}')
    if document.get("schema") != SCHEMA:
        raise HistoryError(f'{source}: "schema" is {document.get("schema")!r}; this edgekit reads {SCHEMA}')
    report: Report = _Parser(source).parse(Report, document, "")
    try:
        datetime.fromisoformat(report.started)
    except ValueError:
        raise HistoryError(f'{source}: "started" is {report.started!r}; expected a date and time (ISO 8601)') from None
    return report


def only(found: Found) -> Report:
    """The report with nothing but the results that are meant."""
    return replace(found.report, results=tuple(found.results.values()))


def _read(reference: str, history: History) -> Report:
    if reference.endswith(".json") or "/" in reference:
        return read_report(Path(reference))
    run_id = history.find(reference)
    return parse_report(history.document(run_id), f"{history.path}: run {run_id}")


@dataclass(frozen=True, slots=True)
class _Parser:
    """Turns JSON into the dataclasses of results.py as their annotations say."""

    source: str

    def parse(self, kind: Any, value: object, key: str) -> Any:
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            inner = next(each for each in arguments if each is not types.NoneType)
            return None if value is None else self.parse(inner, value, key)
        if kind is Any:
            return value
        if is_dataclass(kind):
            return self._object(kind, value, key)
        if origin is tuple:
            return self._tuple(arguments, value, key)
        if origin is Mapping:
            return {name: self.parse(arguments[1], each, f"{key}.{name}") for name, each in self._dict(value, key)}
        return self._scalar(kind, value, key)

    def _object(self, kind: Any, value: object, key: str) -> Any:
        document = dict(self._dict(value, key))
        if kind is Result and isinstance(document.get("state"), dict):
            document["state.after"] = document["state"].get("after", {})
        hints = typing.get_type_hints(kind)
        values = {}
        for field in fields(kind):
            name = _NAMES.get(field.name, field.name)
            path = f"{key}.{name}" if key else name
            if name in document:
                values[field.name] = self.parse(hints[field.name], document[name], path)
            elif type(None) in typing.get_args(hints[field.name]):
                values[field.name] = None
            elif field.default is MISSING and field.default_factory is MISSING:
                raise HistoryError(f'{self.source}: missing key "{path}"; expected {_EXPECTED}')
        return kind(**values)

    def _tuple(self, kinds: tuple[Any, ...], value: object, key: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise self._error(value, key, "a list")
        if Ellipsis not in kinds and len(value) != len(kinds):
            raise self._error(value, key, f"a list of {len(kinds)}")
        each = [kinds[0]] * len(value) if Ellipsis in kinds else kinds
        return tuple(
            self.parse(kind, one, f"{key}[{at}]") for at, (kind, one) in enumerate(zip(each, value, strict=True))
        )

    def _dict(self, value: object, key: str) -> Any:
        if not isinstance(value, dict):
            raise self._error(value, key, "an object")
        return value.items()

    def _scalar(self, kind: Any, value: object, key: str) -> Any:
        accepted = (int, float) if kind is float else kind
        if not isinstance(value, accepted) or (kind is not bool and isinstance(value, bool)):
            raise self._error(value, key, _WORDS[kind])
        try:
            return kind(value)
        except OverflowError:
            raise self._error("a huge number", key, _WORDS[kind]) from None

    def _error(self, value: object, key: str, expected: str) -> HistoryError:
        shown = repr(value)
        shown = shown if len(shown) <= 40 else shown[:37] + "..."
        return HistoryError(f'{self.source}: "{key}" is {shown}; expected {expected}')
