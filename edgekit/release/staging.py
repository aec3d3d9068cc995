"""Files are written to a staging folder and moved to their final names only when everything has been verified."""

import errno
import fcntl
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from edgekit.errors import UsageError

_PREFIX = ".edgekit-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_LAST = "manifest.json"
"""Describes the other files, so it may only appear after them."""


class Staging:
    """A folder beside the final names, on the same file system, so that publishing is a rename."""

    def __init__(self, out: Path, folder: Path) -> None:
        self._out = out
        self._staged = folder / "new"
        self._replaced = folder / "old"
        self._aside = folder / "aside"

    def path(self, relative: str) -> Path:
        """Where to write the file that will be ``OUT/relative``; its folder exists."""
        path = self._staged / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def aside(self, relative: str) -> Path:
        """Where to write a file that is needed on the way and never published; its folder exists."""
        path = self._aside / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def publish(self) -> None:
        """Rename every staged file into place, all or none; an interrupt waits until it is done.

        Two publications into one folder take turns. Raises UsageError when a file cannot be moved.
        """
        files = [path.relative_to(self._staged) for path in self._staged.rglob("*") if path.is_file()]
        files.sort(key=lambda file: (file.name == _LAST, file))
        self._refuse_folders(files)
        with _interrupts_held(), _locked(self._out):
            for file in files:
                self._keep(file)
            done: list[Path] = []
            try:
                for file in files:
                    (self._out / file).parent.mkdir(parents=True, exist_ok=True)
                    done.append(file)
                    (self._staged / file).replace(self._out / file)
            except OSError as error:
                for file in done:
                    self._restore(file)
                raise UsageError(f"{self._out}: cannot move the artifacts into place: {error.strerror}") from error

    def _refuse_folders(self, files: list[Path]) -> None:
        for current in (self._out / file for file in files):
            if current.is_dir() and not current.is_symlink():
                raise UsageError(f"{current}: is a folder, and an artifact of this name is to be written; move it away")

    def _keep(self, file: Path) -> None:
        """A second name for what will be replaced, so that its own name is never without a file."""
        current, kept = self._out / file, self._replaced / file
        if current.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            try:
                kept.hardlink_to(current)
            except OSError:  # a file system without hard links
                shutil.copy2(current, kept)

    def _restore(self, file: Path) -> None:
        current, kept = self._out / file, self._replaced / file
        if kept.is_file():
            kept.replace(current)
        elif current.is_file():
            current.unlink()


@contextmanager
def staging(out: Path) -> Iterator[Staging]:
    """A Staging for the folder ``out``, which is made if need be; nothing of it is left when the block fails.

    Raises UsageError when ``out`` cannot be written, before any work is done.
    """
    made: list[Path] = []
    with ExitStack() as lock:
        try:
            made += _missing_folders(out)
            out.mkdir(parents=True, exist_ok=True)
            with _locked(out):
                _remove_orphans(out)
                folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=out))
                lock.enter_context(_locked(folder))
        except OSError as error:
            _remove_empty(made)
            reason = f"cannot write to the output folder ({error.strerror}); choose another with --out"
            raise UsageError(f"{out}: {reason}") from error
        try:
            yield Staging(out, folder)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise UsageError(f"{out}: {error.strerror}; make room or choose another folder with --out") from error
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


def _remove_orphans(out: Path) -> None:
    """Staging folders whose process was killed: a living one holds the lock on its own."""
    for folder in out.glob(f"{_PREFIX}*"):
        if folder.is_dir() and not folder.is_symlink():
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            except BlockingIOError:
                continue
            finally:
                os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the advisory lock of a folder; waits for another process that holds it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Deliver SIGINT, SIGTERM and SIGHUP after the block instead of in its middle.

    The handlers are replaced, not the mask: a signal that is blocked here goes to a thread of numpy's BLAS instead, and
    Python runs the handler in the main thread all the same. Other threads than the main one never run handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for held, handler in before.items():
            signal.signal(held, handler)
        for number in received:
            signal.raise_signal(number)
