"""A local file or folder as it is sent to a board: its files, their hashes, and one hash of them all."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import InputError

_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class File:
    """One file: where it is, its path relative to what is pushed, and what it is."""

    path: Path
    relative: str
    sha256: str
    size: int
    executable: bool

    def chunks(self) -> Iterator[bytes]:
        """Its content. Raises InputError."""
        return _chunks(self.path)


@dataclass(frozen=True, slots=True)
class Tree:
    """What is pushed: one file called ``name``, or all files of a folder called so. ``sha256`` is of the contents."""

    name: str
    sha256: str
    files: tuple[File, ...]


def read_tree(path: Path, executable: bool) -> Tree:
    """Read and hash a file, or every file below a folder; links are followed. Raises InputError."""
    path = path.absolute()
    if not path.is_dir():
        file = _file(path, path.name, executable)
        return Tree(path.name, file.sha256, (file,))
    paths = sorted(each for each in path.rglob("*") if each.is_file())
    if not paths:
        raise InputError(f"{path}: an empty folder; expected files to send to the device")
    files = tuple(
        _file(each, f"{path.name}/{each.relative_to(path).as_posix()}", executable or _is_executable(each))
        for each in paths
    )
    listing = "".join(f"{each.sha256} {each.executable} {each.relative}\n" for each in files)
    return Tree(path.name, hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest(), files)


def _file(path: Path, relative: str, executable: bool) -> File:
    digest = hashlib.sha256()
    size = 0
    for chunk in _chunks(path):
        digest.update(chunk)
        size += len(chunk)
    return File(path, relative, digest.hexdigest(), size, executable)


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; expected a file to send to the device") from None


def _is_executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)
