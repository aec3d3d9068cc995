"""The identity of a source model: one SHA-256 per file or folder."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgekit.files import file_sha256


def model_sha256(path: Path, external: Sequence[Path] = ()) -> str:
    """The SHA-256 of a file; of a folder, over the sorted relative paths of its files and their contents.

    ``external``: files beside the model, relative to its folder, that hold its weights. With any, the hash is as a
    folder's, over them and the model (whose own name does not count).
    Returns a lower-case hex string. Raises OSError when something cannot be read.
    """
    if path.is_dir():
        return _combined({file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()})
    if not external:
        return file_sha256(path)
    return _combined({"": path, **{name.as_posix(): path.parent / name for name in external}})


def _combined(files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{file_sha256(files[name])}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
