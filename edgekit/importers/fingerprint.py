"""The identity of a source model: one SHA-256 per file or folder."""

import hashlib
from pathlib import Path


def model_sha256(path: Path) -> str:
    """The SHA-256 of a file; of a folder, over the sorted relative paths of its files and their contents.

    Returns a lower-case hex string. Raises OSError when something cannot be read.
    """
    if not path.is_dir():
        return _file_sha256(path)
    digest = hashlib.sha256()
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    for name in sorted(files):
        digest.update(f"{name}\0{_file_sha256(files[name])}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
