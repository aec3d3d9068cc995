"""Read a TOML file key by key: every mistake is one ProfileError that names the file, the key and what was expected."""

import math
import tomllib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from edgekit.errors import ProfileError, nearest

_Choice = TypeVar("_Choice", bound=StrEnum)
_NOT_GIVEN: Any = object()


def read_toml(path: Path) -> "Table":
    """The root table of ``path``. Raises ProfileError when it cannot be read or is not TOML, with line and column."""
    try:
        return Table(path, "", tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ProfileError(f"{path}: no such file") from None
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{path}: not UTF-8 text; expected a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{path}: not valid TOML: {error}") from None


class Table:
    """One table of a TOML file. Ask for every key that may be there, then call ``finish()``: what is left is a typo.

    Each getter takes the key and a default; without a default the key must be there.
    """

    def __init__(self, path: Path, name: str, values: dict[str, Any]) -> None:
        self.path = path
        self.name = name
        self._values = values
        self._asked: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def over(self, base: "Table") -> "Table":
        """This table, completed by the keys of ``base`` that it does not have; tables inside are completed likewise."""
        return Table(self.path, self.name, _completed(self._values, base._values))

    def finish(self) -> None:
        """Raise ProfileError for a key that nobody asked for."""
        for key in self._values:
            if key not in self._asked:
                raise ProfileError(f'{self.path}: unknown key "{key}"{self._where}{nearest(key, self._asked)}')

    def error(self, key: str, expected: str) -> ProfileError:
        """The error for a wrong value of ``key``."""
        return ProfileError(
            f'{self.path}: "{key}"{self._where} is {self._values.get(key)!r}; expected {expected}'.replace("\n", " ")
        )

    def string(self, key: str, default: str = _NOT_GIVEN) -> str:
        """A text that is not empty."""
        value = self._get(key, default)
        if not isinstance(value, str) or (key in self and not value.strip()):
            raise self.error(key, "a text")
        return value

    def boolean(self, key: str, default: bool = _NOT_GIVEN) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "true or false")
        return value

    def integer(self, key: str, default: int = _NOT_GIVEN, *, minimum: int = 0) -> int:
        """A whole number, at least ``minimum``."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise self.error(key, f"a whole number of at least {minimum}")
        return value

    def number(self, key: str, default: float = _NOT_GIVEN, *, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number between ``low`` and ``high``."""
        value = self._get(key, default)
        if not _is_number(value) or not low <= value <= high:
            within = f" between {low:g} and {high:g}" if math.isfinite(high - low) else ""
            raise self.error(key, f"a number{within}")
        return float(value)

    def numbers(self, key: str, default: tuple[float, ...] = _NOT_GIVEN) -> tuple[float, ...]:
        """One finite number, or a list of them."""
        value = self._get(key, default)
        values = value if isinstance(value, list | tuple) else [value]
        if (not values and key in self) or not all(_is_number(each) for each in values):
            raise self.error(key, "a number or a list of numbers")
        return tuple(float(each) for each in values)

    def choice(self, key: str, choices: type[_Choice], default: _Choice = _NOT_GIVEN) -> _Choice:
        """One value of an enumeration."""
        return choices(self.one_of(key, [str(each) for each in choices], default))

    def one_of(self, key: str, choices: Sequence[Any], default: Any = _NOT_GIVEN) -> Any:
        """One of ``choices``, of the same type."""
        value = self._get(key, default)
        if value not in choices or isinstance(value, bool):
            raise self.error(key, _one_of(choices) + (nearest(value, choices) if isinstance(value, str) else ""))
        return value

    def strings(self, key: str, default: tuple[str, ...] = _NOT_GIVEN) -> tuple[str, ...]:
        """A list of texts, none of them twice."""
        value = self._get(key, default)
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) and each for each in value):
            raise self.error(key, "a list of texts")
        self._refuse_repeated(key, value)
        return tuple(value)

    def some_of(self, key: str, choices: Sequence[str]) -> tuple[str, ...]:
        """A list, not empty, of some of ``choices``."""
        values = self.strings(key)
        for value in values:
            if value not in choices:
                raise ProfileError(
                    f'{self.path}: "{key}"{self._where} has "{value}"; expected {_one_of(choices)}'
                    f"{nearest(value, choices)}"
                )
        if not values:
            raise self.error(key, f"some of {', '.join(choices)}")
        return values

    def table(self, key: str) -> "Table":
        """A table inside this one; an empty one when it is not there."""
        value = self._get(key, {})
        if not isinstance(value, dict):
            raise self.error(key, f"a table, written [{self._path_of(key)}]")
        return Table(self.path, self._path_of(key), value)

    def _get(self, key: str, default: Any) -> Any:
        self._asked.append(key)
        if key not in self._values and default is _NOT_GIVEN:
            typo = next((given for given in self._values if nearest(given, [key])), None)
            hint = f'; is "{typo}" a typo?' if typo else ""
            raise ProfileError(f'{self.path}: missing key "{key}"{self._where}{hint}')
        return self._values.get(key, default)

    def _refuse_repeated(self, key: str, values: Sequence[str]) -> None:
        repeated = next((value for value in values if list(values).count(value) > 1), None)
        if repeated is not None:
            raise ProfileError(f'{self.path}: "{key}"{self._where} has "{repeated}" twice')

    def _path_of(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    @property
    def _where(self) -> str:
        return f" in [{self.name}]" if self.name else ""


def _completed(values: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    both = [key for key in values if isinstance(values[key], dict) and isinstance(base.get(key), dict)]
    return base | values | {key: _completed(values[key], base[key]) for key in both}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _one_of(choices: Iterable[object]) -> str:
    return "one of " + ", ".join(f'"{each}"' if isinstance(each, str) else str(each) for each in choices)
