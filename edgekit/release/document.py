"""Read a JSON document key by key: every mistake is one InputError naming the file, the key and what was expected."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgekit.errors import InputError


def read_document(path: Path) -> "Document":
    """The object in the JSON file ``path``. Raises InputError when it cannot be read or is no object."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror}; expected the folder of an export, or its manifest.json"
        ) from None
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        reason = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else "not UTF-8 text"
        raise InputError(f"{path}: not a JSON document ({reason}); expected what edgekit export wrote") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: is a JSON {type(values).__name__}; expected an object, as edgekit export writes it")
    return Document(path, "", values)


class Document:
    """One object of a JSON file. Keys that nobody asks for are of a later edgekit and ignored."""

    def __init__(self, path: Path, name: str, values: Mapping[str, Any]) -> None:
        self.path = path
        self._name = name
        self._values = values

    def __contains__(self, key: str) -> bool:
        """Whether the key is there with a value other than null."""
        return self._values.get(key) is not None

    def error(self, key: str, expected: str) -> InputError:
        """The error for a wrong or missing value of ``key``."""
        got = json.dumps(self._values[key])[:80] if key in self._values else "missing"
        return InputError(f'{self.path}: "{self._path_of(key)}" is {got}; expected {expected}')

    def string(self, key: str) -> str:
        """A text that is not empty."""
        value = self._values.get(key)
        if not isinstance(value, str) or not value:
            raise self.error(key, "a text")
        return value

    def sha256(self, key: str) -> str:
        """64 hexadecimal digits."""
        value = self.string(key)
        if len(value) != 64 or set(value) - set("0123456789abcdef"):
            raise self.error(key, "a SHA-256 in 64 lower-case hexadecimal digits")
        return value

    def integer(self, key: str) -> int:
        """A whole number, at least 0."""
        value = self._values.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.error(key, "a whole number of at least 0")
        return value

    def integers(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers, at least 0."""
        value = self._values.get(key)
        if not isinstance(value, list) or any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in value):
            raise self.error(key, "a list of whole numbers")
        return tuple(value)

    def signed(self, key: str) -> int:
        """A whole number."""
        value = self._values.get(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, "a whole number")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        value = self._values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(key, "a number")
        return float(value)

    def optional_number(self, key: str) -> float | None:
        """A finite number, or None when it is null or missing."""
        return self.number(key) if key in self else None

    def one_of(self, key: str, choices: tuple[str, ...]) -> str:
        """One of some texts."""
        value = self._values.get(key)
        if value not in choices:
            raise self.error(key, f"one of {', '.join(choices)}")
        return str(value)

    def object(self, key: str) -> "Document":
        """An object inside this one."""
        value = self._values.get(key)
        if not isinstance(value, dict):
            raise self.error(key, "an object")
        return Document(self.path, self._path_of(key), value)

    def objects(self, key: str) -> Iterator["Document"]:
        """The objects of a list."""
        value = self._values.get(key)
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self.error(key, "a list of objects")
        for index, each in enumerate(value):
            yield Document(self.path, f"{self._path_of(key)}[{index}]", each)

    def numbers_by_name(self, key: str) -> dict[str, float]:
        """An object of finite numbers; empty when it is missing."""
        return {name: self.object(key).number(name) for name in self.object(key)._values} if key in self else {}

    def values(self, key: str) -> dict[str, Any]:
        """An object as it is, for settings that are only carried along."""
        return dict(self.object(key)._values)

    def _path_of(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key
