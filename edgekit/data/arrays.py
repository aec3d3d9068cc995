"""NumPy files (.npz, .npy) read row by row: memory does not grow with the number of samples, deflated or not."""

import math
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from edgekit.data.labels import check_labels_shape, parse_labels
from edgekit.data.source import LABELS, ONLY_INPUT, RawSample, file_sha256
from edgekit.errors import DataError

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
"""Version 3.0 differs from 2.0 only in the field names of structured arrays, which are no samples."""

_MAX_LABEL_BYTES = 1 << 30
"""One-hot labels of fifty thousand samples of a thousand classes take 400 MB as int64; a file may claim anything."""


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """One array of a file: ``open`` starts to read it, ``where`` names it in errors."""

    open: Callable[[], AbstractContextManager[IO[bytes]]]
    where: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool

    def rows(self, chosen: NDArray[np.int64]) -> Generator[NDArray[Any], None, None]:
        """The ``chosen`` rows (ascending) of the first axis, each a new array. Raises DataError for a damaged file."""
        with _readable(self.where), self.open() as stream:
            _read_header(stream, self.where)
            if self.fortran_order and len(self.shape) > 1:
                yield from self._transposed_rows(stream, chosen)
                return
            skipped_to = 0
            for index in chosen.tolist():
                row = np.empty(self.shape[1:], self.dtype)
                stream.seek((index - skipped_to) * row.nbytes, os.SEEK_CUR)
                _read_into(stream, row, f"{self.where}, sample {index}")
                skipped_to = index + 1
                yield row

    def _transposed_rows(self, stream: IO[bytes], chosen: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
        """In Fortran order a row is spread over the whole file, so it goes through an unnamed temporary file."""
        with tempfile.TemporaryFile() as spool:
            shutil.copyfileobj(stream, spool)
            spool.flush()
            array = np.memmap(spool, self.dtype, "r", shape=self.shape, order="F")
            yield from (np.array(array[index]) for index in chosen)


class ArraySource:
    """The arrays of one .npz or .npy file, with the labels in ``y``."""

    def __init__(self, path: str, arrays: dict[str, ArrayFile], labels: ArrayFile | None) -> None:
        self.path = path
        self.names = tuple(arrays)
        self._arrays = arrays
        self.count = next(iter(arrays.values())).shape[0]
        for array in arrays.values():
            if array.shape[0] != self.count:
                raise DataError(f'{array.where} has {array.shape[0]} samples, but "{self.names[0]}" has {self.count}')
        self.row_shapes: Mapping[str, tuple[int, ...]] = {name: array.shape[1:] for name, array in arrays.items()}
        self.labels = None if labels is None else _read_labels(labels, self.count)

    def rows(self, chosen: NDArray[np.int64]) -> Iterator[RawSample]:
        """A new pass over the chosen samples."""
        with ExitStack() as stack:
            passes = [stack.enter_context(closing(array.rows(chosen))) for array in self._arrays.values()]
            for row in zip(*passes, strict=True):
                yield dict(zip(self.names, row, strict=True))

    def sha256(self) -> str:
        """Of the file."""
        return file_sha256(Path(self.path))

    def where(self, name: str, index: int) -> str:
        """The array and the row."""
        return f"{self._arrays[name].where}, sample {index}"


def open_arrays(path: str, inputs: tuple[str, ...]) -> ArraySource:
    """Open an .npz or .npy file; ``y`` holds labels unless it is among the model's ``inputs``. Raises DataError."""
    file = Path(path)
    arrays = {ONLY_INPUT: _open_npy(file)} if file.suffix == ".npy" else _open_npz(file)
    labels = None if LABELS in inputs else arrays.pop(LABELS, None)
    if not arrays:
        raise DataError(f"{path}: has no arrays; expected {_names(inputs)}")
    return ArraySource(path, arrays, labels)


def _open_npy(path: Path) -> ArrayFile:
    def opened() -> IO[bytes]:
        return path.open("rb")

    return _open_array(opened, str(path), path.stat().st_size)


def _open_npz(path: Path) -> dict[str, ArrayFile]:
    with path.open("rb") as file:
        start = file.read(6)
    if start == npy.MAGIC_PREFIX:
        raise DataError(f"{path}: is an .npy file; give it the suffix .npy")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile:
        what = "is truncated" if start[:4] == b"PK\x03\x04" else "is not an .npz file"
        raise DataError(f"{path}: {what}; expected a file written by numpy.savez") from None
    return {
        member.filename.removesuffix(".npy"): _open_array(
            partial(_open_member, path, member.filename),
            f'{path}: array "{member.filename.removesuffix(".npy")}"',
            member.file_size,
        )
        for member in members
        if member.filename.endswith(".npy")
    }


@contextmanager
def _open_member(path: Path, name: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(path) as archive, archive.open(name) as stream:
        yield stream


def _open_array(open_: Callable[[], AbstractContextManager[IO[bytes]]], where: str, size: int) -> ArrayFile:
    """Read the header, and refuse what is no array of samples or is larger than the file."""
    with _readable(where), open_() as stream:
        shape, fortran_order, dtype = _read_header(stream, where)
        header_size = stream.tell()
    if dtype.hasobject or dtype.kind not in "biuf":
        raise DataError(f"{where} has values of type {dtype}; expected numbers (pickled objects are never loaded)")
    if not shape:
        raise DataError(f"{where} is a single number; expected an array whose first axis counts the samples")
    if min(shape) < 1:
        raise DataError(f"{where} has shape {shape}: no samples")
    if header_size + int(np.prod(shape, dtype=object)) * dtype.itemsize > size:
        raise DataError(f"{where} is truncated: shape {shape} of {dtype} does not fit into {size} bytes")
    return ArrayFile(open_, where, shape, dtype, fortran_order)


def _read_header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = npy.read_magic(stream)
        if version not in _HEADERS:
            raise DataError(f"{where} is structured; expected plain numbers")
        shape, fortran_order, dtype = _HEADERS[version](stream)
    except ValueError as error:
        raise DataError(f"{where} is not a NumPy array: {error}") from None
    return shape, fortran_order, dtype


def _read_into(stream: IO[bytes], row: NDArray[Any], where: str) -> None:
    view = memoryview(row.reshape(-1).view(np.uint8).data)
    while view:
        read = stream.readinto(view)  # type: ignore[attr-defined]
        if not read:
            raise DataError(f"{where} is missing: the file is truncated")
        view = view[read:]


def _read_labels(array: ArrayFile, count: int) -> NDArray[np.int64]:
    """The classes in ``array``, whose header is checked before its values are unpacked."""
    check_labels_shape(array.shape, count, array.where)
    size = math.prod(array.shape) * array.dtype.itemsize
    if size > _MAX_LABEL_BYTES:
        raise DataError(
            f"{array.where} takes {size} bytes for {count} labels; expected one class index each, shape ({count},)"
        )
    return parse_labels(np.stack(list(array.rows(np.arange(count)))), count, array.where)


@contextmanager
def _readable(where: str) -> Iterator[None]:
    """What the file system and the zip archive may raise becomes a DataError."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{where} is damaged: {error}") from None
    except (NotImplementedError, RuntimeError) as error:  # zipfile's words for other compressions and passwords
        raise DataError(f"{where} cannot be unpacked: {error}") from None
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error.strerror or error}") from None


def _names(names: tuple[str, ...]) -> str:
    return " and ".join(f'"{name}"' for name in names) + (f' or "{ONLY_INPUT}"' if len(names) == 1 else "")
