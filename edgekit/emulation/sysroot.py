"""The foreign machine's files: a Python and the runtimes, built once without root, kept in the user's cache folder."""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekit.emulation.debian import ARCHITECTURES, Apt
from edgekit.emulation.wheels import Wheels, requirements
from edgekit.errors import DependencyError
from edgekit.files import cache_folder
from edgekit.progress import Progress, Silent

_RECIPE = 1
"""Counts up when a sysroot of the same versions would have other contents."""

_LOCK_TIMEOUT_S = 1800.0
_LOCK_INTERVAL_S = 0.5

_TOOLS = {"apt-get": "a Debian or Ubuntu system", "dpkg-deb": "apt-get install dpkg"}
_SITE = "usr/lib/python3/dist-packages"


def build_sysroot(
    machine: str = "aarch64",
    *,
    announce: Callable[[str], None] = lambda text: None,
    progress: Progress | None = None,
) -> Path:
    """The folder of a sysroot for ``machine`` ("aarch64" or "x86_64"), built when it is not there yet.

    It holds Debian's Python, numpy and the runtimes in the versions that are installed here, for
    ``qemu-<machine> -L SYSROOT``. ``announce`` gets one sentence with the size before anything but package lists is
    downloaded. Two processes may call this at once: one builds, the other says that it waits, for half an hour at
    most. What fails leaves nothing behind.

    Raises DependencyError when a tool is missing, the network is not there, or a runtime has no wheel for ``machine``.
    """
    folder = _cache_folder() / _key(machine)
    if not folder.is_dir():
        _require_tools()
        try:
            with _locked(folder.with_name(f"{folder.name}.lock"), announce):
                if not folder.is_dir():
                    _build(machine, folder, announce, progress or Silent())
        except OSError as error:
            raise DependencyError(
                f"{folder.parent}: cannot build a sysroot here ({error.strerror or error}); make room, "
                "or set XDG_CACHE_HOME to another folder"
            ) from error
    return folder


def find_python(sysroot: Path) -> Path:
    """The Python of a sysroot. Raises DependencyError when there is none."""
    programs = (path for path in (sysroot / "usr/bin").glob("python3.*") if path.suffix[1:].isdecimal())
    found = sorted(programs, key=lambda path: int(path.suffix[1:]))
    if not found:
        raise DependencyError(f"{sysroot}: is no sysroot with a Python; expected {sysroot}/usr/bin/python3.*")
    return found[-1]


def _build(machine: str, folder: Path, announce: Callable[[str], None], progress: Progress) -> None:
    for orphan in folder.parent.glob(f".{folder.name}-*"):  # of a build that was killed: the lock is ours
        shutil.rmtree(orphan, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        root = Path(scratch, "root")
        root.mkdir()
        with progress.stage(f"reading the package lists for {machine}"):
            apt = Apt(machine, Path(scratch, "apt"))
            packages = apt.resolve()
            wheels = Wheels(machine, packages)
            size = wheels.bytes()
        announce(
            f"downloading a sysroot for {machine}, once: {_spell(packages.bytes)} of Debian packages and "
            f"{'wheels of unknown size' if size is None else f'{_spell(size)} of wheels'}, into {folder}"
        )
        with progress.stage(f"building the {machine} sysroot"):
            apt.unpack(root)
            wheels.install(root / _SITE)
            _rename(root, folder)


def _rename(root: Path, folder: Path) -> None:
    find_python(root)
    root.rename(folder)


def _spell(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _key(machine: str) -> str:
    """Names a sysroot by everything that decides its contents, as far as this machine knows it without the network."""
    if machine not in ARCHITECTURES:
        raise DependencyError(f'no sysroot for machine "{machine}"; expected one of {", ".join(ARCHITECTURES)}')
    release = _release()
    recipe = [_RECIPE, machine, release, requirements()]
    return f"{machine}-{release}-{hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]}"


def _release() -> str:
    """The suite that the host's apt sources are of, as far as can be told."""
    try:
        facts = platform.freedesktop_os_release()
    except OSError:
        return "unknown"
    return facts.get("VERSION_CODENAME") or facts.get("VERSION_ID") or facts["ID"]


def _cache_folder() -> Path:
    folder = cache_folder("sysroots")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DependencyError(
            f"{folder}: cannot be made ({error.strerror}); set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    return folder


def _require_tools() -> None:
    for tool, source in _TOOLS.items():
        if shutil.which(tool) is None:
            raise DependencyError(f"building a sysroot needs {tool} ({source}); or pass --sysroot DIR with one")


@contextmanager
def _locked(path: Path, announce: Callable[[str], None]) -> Iterator[None]:
    """Hold the advisory lock of a file; waits for another process that holds it, and says so."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _try_lock(descriptor):
            announce("waiting for another edgekit, which is building the sysroot")
            _wait_for(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while not _try_lock(descriptor):
        if time.monotonic() > deadline:
            raise DependencyError(
                f"{path}: another edgekit has held this lock for {_LOCK_TIMEOUT_S:g} s; end it, or pass --sysroot DIR"
            )
        time.sleep(_LOCK_INTERVAL_S)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
