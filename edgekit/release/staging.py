"""Files are written to a staging folder and moved to their final names only when everything has been verified."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekit.errors import UsageError

_PREFIX = ".edgekit-"


class Staging:
    """A folder beside the final names, on the same file system, so that publishing is a rename."""

    def __init__(self, out: Path, folder: Path) -> None:
        self._out = out
        self._staged = folder / "new"
        self._replaced = folder / "old"

    def path(self, relative: str) -> Path:
        """Where to write the file that will be ``OUT/relative``; its folder exists."""
        path = self._staged / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def publish(self) -> None:
        """Rename every staged file into place, all or none; an interrupt waits until it is done."""
        files = sorted(path.relative_to(self._staged) for path in self._staged.rglob("*") if path.is_file())
        self._refuse_folders(files)
        with _interrupts_held():
            done: list[Path] = []
            try:
                for file in files:
                    self._set_aside(file)
                    done.append(file)
                    (self._out / file).parent.mkdir(parents=True, exist_ok=True)
                    (self._staged / file).replace(self._out / file)
            except OSError as error:
                for file in reversed(done):
                    self._restore(file)
                raise UsageError(f"{self._out}: cannot move the artifacts into place: {error.strerror}") from error

    def _refuse_folders(self, files: list[Path]) -> None:
        for current in (self._out / file for file in files):
            if current.is_dir() and not current.is_symlink():
                raise UsageError(f"{current}: is a folder, and an artifact of this name is to be written; move it away")

    def _set_aside(self, file: Path) -> None:
        current = self._out / file
        if current.exists() or current.is_symlink():
            kept = self._replaced / file
            kept.parent.mkdir(parents=True, exist_ok=True)
            current.replace(kept)

    def _restore(self, file: Path) -> None:
        kept = self._replaced / file
        if kept.exists() or kept.is_symlink():
            kept.replace(self._out / file)
        elif (self._out / file).is_file():
            (self._out / file).unlink()


@contextmanager
def staging(out: Path) -> Iterator[Staging]:
    """A Staging for the folder ``out``, which is made if need be; nothing of it is left when the block fails.

    Raises UsageError when ``out`` cannot be written, before any work is done.
    """
    made = _missing_folders(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=out))
    except OSError as error:
        _remove_empty(made)
        raise UsageError(
            f"{out}: cannot write to the output folder ({error.strerror}); choose another with --out"
        ) from error
    try:
        yield Staging(out, folder)
    finally:
        with _interrupts_held():
            shutil.rmtree(folder, ignore_errors=True)
            _remove_empty(made)


def _missing_folders(out: Path) -> list[Path]:
    """The folders of ``out`` that do not exist yet, deepest first."""
    missing = []
    folder = out.absolute()
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    return missing


def _remove_empty(folders: list[Path]) -> None:
    """Remove those of ``folders`` that are still empty: nothing was published into them."""
    for folder in folders:
        if not folder.is_dir() or any(folder.iterdir()):
            return
        folder.rmdir()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Deliver SIGINT and SIGTERM after the block instead of in its middle."""
    held = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
