"""Builds the C program for an ABI with the C compiler of this machine or with ziglang; the result is cached."""

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from edgekit.errors import DependencyError
from edgekit.files import cache_folder

_SOURCES = Path(__file__).parent
_FLAGS = ("-std=c11", "-O2", "-Wall", "-s")
_LIBRARIES = ("-ldl", "-lm")
_TIMEOUT_S = 300.0

# The oldest glibc of the boards in use: Debian 10's. zig knows the symbols of each version.
_TARGETS = {
    "arm64-v8a": "aarch64-linux-gnu.2.28",
    "armeabi-v7a": "arm-linux-gnueabihf.2.28",
    "x86_64": "x86_64-linux-gnu.2.28",
    "x86": "x86-linux-gnu.2.28",
    "riscv64": "riscv64-linux-gnu.2.28",
}
_MACHINES = {"aarch64": "arm64-v8a", "arm64": "arm64-v8a", "armv7l": "armeabi-v7a", "i686": "x86", "AMD64": "x86_64"}


def host_abi() -> str:
    """This machine's ABI, in Android's words."""
    return _MACHINES.get(platform.machine(), platform.machine())


def can_build(abi: str | None, *, for_this_machine: bool) -> bool:
    """Whether a compiler for ``abi`` (None: it is not known yet) is installed."""
    return _compiler(abi, for_this_machine=for_this_machine) is not None


def build_runner(abi: str, *, for_this_machine: bool) -> Path:
    """The program for ``abi``, built when it is not in the cache.

    Elsewhere than on this machine the C library may be older: there the program asks for no more than glibc 2.28 when
    ziglang built it. Raises DependencyError when there is no compiler for ``abi`` or it fails.
    """
    compiler = _compiler(abi, for_this_machine=for_this_machine)
    if compiler is None:
        raise DependencyError(
            f"edgekit's runner for {abi} must be built, and there is no C compiler for it: pip install 'edgekit[ssh]'"
        )
    path = cache_folder("runner") / _fingerprint(compiler) / "edgekit-runner"
    if not path.is_file():
        _build(compiler, path)
    return path


def _compiler(abi: str | None, *, for_this_machine: bool) -> list[str] | None:
    """The first words of the compiler's command; the portable compiler first where the C library may be another one."""
    host = _host_compiler() if for_this_machine or abi == host_abi() else None
    zig = _zig(abi)
    return (host or zig) if for_this_machine else (zig or host)


def _host_compiler() -> list[str] | None:
    path = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    return None if path is None else [path]


def _zig(abi: str | None) -> list[str] | None:
    if importlib.util.find_spec("ziglang") is None or (abi is not None and abi not in _TARGETS):
        return None
    return [sys.executable, "-m", "ziglang", "cc", *(("-target", _TARGETS[abi]) if abi else ())]


def _source_files() -> list[Path]:
    return sorted(path for path in _SOURCES.iterdir() if path.suffix in (".c", ".h"))


def _fingerprint(compiler: list[str]) -> str:
    """Of all that decides what the program is; not of where the compiler lies."""
    digest = hashlib.sha256("\0".join([*compiler[1:], host_abi(), *_FLAGS]).encode())
    for path in _source_files():
        digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:24]


def _build(compiler: list[str], path: Path) -> None:
    """Write the program in one step: another process may build the same one meanwhile."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as folder:
            fresh = Path(folder, path.name)
            _compile(compiler, fresh)
            fresh.chmod(0o755)
            fresh.replace(path)
    except OSError as error:
        raise DependencyError(
            f"{path}: edgekit's runner cannot be built there: {error}; "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from error


def _compile(compiler: list[str], path: Path) -> None:
    sources = [str(source) for source in _source_files() if source.suffix == ".c"]
    command = [*compiler, *_FLAGS, *sources, "-o", str(path), *_LIBRARIES]
    environment = {**os.environ, "ZIG_LOCAL_CACHE_DIR": str(path.parent / "zig")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=environment, check=False)
    except subprocess.TimeoutExpired as error:
        raise DependencyError(f"{compiler[0]}: took more than {_TIMEOUT_S:g} s to build edgekit's runner") from error
    if done.returncode != 0:
        complaint = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[-200:])
        raise DependencyError(
            f"{' '.join(compiler)} cannot build edgekit's runner: {complaint.strip()}; install another C compiler, or "
            "pip install 'edgekit[ssh]'"
        )
