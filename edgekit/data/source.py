"""What every kind of data gives: raw samples, before anything is fitted to a model."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgekit import files
from edgekit.errors import DataError

RawSample = dict[str, NDArray[Any]]

LABELS = "y"
"""The name of the labels beside the inputs."""

ONLY_INPUT = "x"
"""The name that stands for the input of a model that has one."""


class Source(Protocol):
    """A data set as it is on disk, with one sample in memory at a time.

    ``path`` is what the user typed; ``names`` are the arrays of a sample, without the labels; ``labels`` has one class
    per sample, int64 (count,). ``row_shapes`` has the shapes of the samples' arrays that are known before reading them.
    """

    path: str
    names: tuple[str, ...]
    count: int
    labels: NDArray[np.int64] | None
    row_shapes: Mapping[str, tuple[int, ...]]

    def rows(self, chosen: NDArray[np.int64]) -> Iterator[RawSample]:
        """A new pass over the chosen samples, in ascending order. Raises DataError."""

    def sha256(self) -> str:
        """The hexadecimal digest of the data."""

    def where(self, name: str, index: int) -> str:
        """How an error names array ``name`` of sample ``index``."""


def exists(path: Path) -> bool:
    """Whether there is something at ``path``. Raises DataError when a folder on the way may not be searched."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return True


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file. Raises DataError when it cannot be read."""
    try:
        return files.file_sha256(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def files_sha256(root: Path, paths: list[Path]) -> str:
    """SHA-256 over the lines ``<path below root> <sha256>`` of several files, in the order given."""
    lines = (f"{path.relative_to(root).as_posix()} {file_sha256(path)}\n" for path in paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
