"""``module:function``: samples from the user's own code, a function that returns an iterable of dictionaries."""

import hashlib
import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import count, islice
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.data.labels import parse_labels
from edgekit.data.source import LABELS, RawSample
from edgekit.errors import DataError

_SPEC = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)")
_END = object()


def is_iterator_spec(text: str) -> bool:
    """Whether ``text`` has the form ``module:function``."""
    return _SPEC.fullmatch(text) is not None


class IteratorSource:
    """What the function named by ``module:function`` gives; the working directory is on the import path.

    The function is called anew for every pass. One pass when it is opened counts the samples, collects the labels
    (``y``) and hashes the values; ``limit`` ends it early, so that an endless generator can be used.
    """

    def __init__(self, path: str, inputs: tuple[str, ...], limit: int | None) -> None:
        self.path = path
        self.count = 0
        self.labels: NDArray[np.int64] | None = None
        self._function = _import(path)
        self._limit = limit
        self._with_labels = LABELS not in inputs
        self._digest = hashlib.sha256()
        self.names: tuple[str, ...] = ()
        self.row_shapes: Mapping[str, tuple[int, ...]] = {}
        self._first_pass()

    def rows(self, chosen: NDArray[np.int64]) -> Iterator[RawSample]:
        """A new call of the function."""
        calls = enumerate(self._calls())
        for wanted in chosen.tolist():
            index, (sample, _) = next((each for each in calls if each[0] == wanted), (-1, ({}, None)))
            if index < 0:
                raise DataError(
                    f"{self.path}: gave {self.count} samples the first time and fewer the next time; "
                    "every call must return a new iterable with the same samples"
                )
            yield sample

    def sha256(self) -> str:
        """Over all names, types, shapes and values."""
        return self._digest.hexdigest()

    def where(self, name: str, index: int) -> str:
        """The array and its place in the order of the iterator."""
        return f'{self.path}: array "{name}", sample {index}'

    def _first_pass(self) -> None:
        labels = []
        for sample, label in islice(self._calls(), self._limit):
            self.names = self.names or tuple(sample)
            if set(sample) != set(self.names):
                raise DataError(
                    f"{self.path}: sample {self.count} has {_list(sample)}; the first has {_list(self.names)}"
                )
            for name, values in sorted(sample.items()):
                self._digest.update(f"{name} {values.dtype} {values.shape} ".encode() + values.tobytes())
            labels.append(label)
            self.count += 1
        if not self.count:
            raise DataError(f"{self.path}: gave no samples")
        self.labels = self._collected(labels)

    def _collected(self, labels: list[NDArray[Any] | None]) -> NDArray[np.int64] | None:
        given = [label for label in labels if label is not None]
        if not given:
            return None
        if len(given) < len(labels) or len({label.shape for label in given}) > 1:
            raise DataError(f'{self.path}: "{LABELS}" must be in every sample or in none, always of the same shape')
        self._digest.update(np.array(given).tobytes())
        return parse_labels(np.array([label.reshape(-1) for label in given]), self.count, f'{self.path}: "{LABELS}"')

    def _calls(self) -> Iterator[tuple[RawSample, NDArray[Any] | None]]:
        """One call's samples and labels."""
        with _UserCode(self.path):
            iterator = iter(self._function() if callable(self._function) else self._function)
        for index in count():
            with _UserCode(f"{self.path}: sample {index}"):
                sample = next(iterator, _END)
            if sample is _END:
                return
            yield self._parsed(sample, index)

    def _parsed(self, sample: object, index: int) -> tuple[RawSample, NDArray[Any] | None]:
        if not isinstance(sample, Mapping) or not all(isinstance(name, str) for name in sample):
            raise DataError(
                f"{self.path}: sample {index} is a {type(sample).__name__}; expected a dict of {{input name: array}}"
            )
        with _UserCode(f"{self.path}: sample {index}"):
            arrays = {name: np.asarray(values) for name, values in sample.items()}
        label = arrays.pop(LABELS, None) if self._with_labels else None
        return arrays, label


class _UserCode:
    """Whatever the user's code raises inside is a DataError that says where and what it was."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception | SystemExit):
            raise DataError(f"{self._where}: raised {type(error).__name__}: {error}") from error


def _import(path: str) -> Any:
    """The object that ``path`` names."""
    match = _SPEC.fullmatch(path)
    assert match is not None
    module_name, name = match.groups()
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        with _UserCode(f"{path}: importing {module_name}"):
            module = importlib.import_module(module_name)
    except DataError as error:
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and missing.name in (module_name, module_name.split(".")[0]):
            raise DataError(
                f'{path}: no module "{module_name}" in the working directory or among the packages'
            ) from None
        raise
    found = getattr(module, name, None)
    if isinstance(found, Iterator) or not (callable(found) or isinstance(found, Iterable)):
        what = "has no such name" if found is None else f"{name} is a {type(found).__name__}"
        raise DataError(f"{path}: {what}; expected a function that returns an iterable of {{input name: array}}")
    return found


def _list(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
