"""Files: replaced in one step, so that a reader has the old content or the new one; their digests; the cache."""

import hashlib
import os
import secrets
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write ``content`` beside ``path`` and move it there. Raises OSError; ``path`` is as before then."""
    staged = _stage(path, content)
    try:
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise


def require_room(path: Path) -> None:
    """Raises OSError when ``path`` could not be written; leaves nothing behind."""
    _stage(path, b"").unlink()


def file_sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file, read in pieces. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder(name: str) -> Path:
    """Where edgekit keeps what it can make or fetch again: ``edgekit/<name>`` in the user's cache; it may not exist."""
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base).absolute() / "edgekit" / name


def _stage(path: Path, content: bytes) -> Path:
    """A new file in the folder of ``path``: nobody can know its name, and no link that has it already is followed."""
    staged = path.with_name(f".edgekit-{secrets.token_hex(8)}")
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # the umask takes what it does of any file
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    return staged
