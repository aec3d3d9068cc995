"""A foreign machine's Python from the Debian packages of this host's own apt sources, without root.

apt-get gets a private state, so that it knows of nothing installed and takes no lock; it checks the signatures of the
package lists as always. The packages are only unpacked: their maintainer scripts never run.
"""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.emulation.commands import run
from edgekit.errors import DependencyError

ARCHITECTURES = {"aarch64": "arm64", "x86_64": "amd64"}
"""Debian's names of machines."""

# Python, and the C++ library of the runtimes' wheels; apt adds what they depend on.
_PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
_OLDEST_PYTHON = 11
_UNNEEDED = ("usr/share/doc", "usr/share/man", "usr/share/lintian", "usr/share/locale", "var")
_URI = re.compile(r"^'[^']*' (?P<name>\S+) (?P<bytes>\d+)")
_PYTHON = re.compile(r"^python3\.(\d+)-minimal_")
_LIBC = re.compile(r"^libc6_2\.(\d+)")


@dataclass(frozen=True, slots=True)
class Packages:
    """What apt would fetch. ``python`` and ``glibc`` are their minor versions: 11 for 3.11, 36 for 2.36."""

    bytes: int
    python: int
    glibc: int


class Apt:
    """apt-get for one foreign ``machine``, with its state in ``folder``."""

    def __init__(self, machine: str, folder: Path) -> None:
        self._machine = machine
        self._folder = folder
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()

    def resolve(self) -> Packages:
        """Read the package lists and work out what Python needs. Raises DependencyError."""
        self._run("update", "-qq")
        listed = self._run("install", "-qq", "--print-uris", "--no-install-recommends", *self._packages())
        found = [match for line in listed.splitlines() if (match := _URI.match(line))]
        names = [match["name"] for match in found]
        python = self._minor(_PYTHON, names)
        if python < _OLDEST_PYTHON:
            raise DependencyError(
                f"this machine's apt sources have Python 3.{python}; expected 3.{_OLDEST_PYTHON} or later "
                "(Debian 12, Ubuntu 24.04), or pass --sysroot DIR"
            )
        return Packages(sum(int(match["bytes"]) for match in found), python, self._minor(_LIBC, names))

    def unpack(self, root: Path) -> None:
        """Fetch the packages and unpack them into ``root``. Raises DependencyError."""
        self._run("install", "-qq", "-y", "--download-only", "--no-install-recommends", *self._packages())
        for package in sorted((self._folder / "cache/archives").glob("*.deb")):
            run(["dpkg-deb", "-x", package, root], f"unpacking {package.name}")
        _complete(root)

    def _packages(self) -> list[str]:
        return [f"{name}:{ARCHITECTURES[self._machine]}" for name in _PACKAGES]

    def _run(self, *arguments: str) -> str:
        architecture, state = ARCHITECTURES[self._machine], self._folder
        options = {
            "APT::Architecture": architecture,
            "APT::Architectures::": architecture,
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Debug::NoLocking": "1",
            "Dir::State": str(state),
            "Dir::State::lists": str(state / "lists"),
            "Dir::State::status": str(state / "status"),
            "Dir::Cache": str(state / "cache"),
        }
        flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        what = f"building the {self._machine} sysroot from this machine's apt sources (or pass --sysroot DIR)"
        return run(["apt-get", *flags, *arguments], what)

    def _minor(self, pattern: re.Pattern[str], names: Sequence[str]) -> int:
        for name in names:
            if match := pattern.match(name):
                return int(match[1])
        raise DependencyError(
            f"this machine's apt sources have no {ARCHITECTURES[self._machine]} packages of Python and its C library; "
            "expected a Debian mirror, or pass --sysroot DIR"
        )


def _complete(root: Path) -> None:
    # Since Debian 13 the links of the merged /usr are in base-files alone, which nothing here depends on.
    for name in ("lib", "bin", "sbin"):
        if not (root / name).exists() and (root / "usr" / name).is_dir():
            (root / name).symlink_to(f"usr/{name}")
    for name in _UNNEEDED:
        shutil.rmtree(root / name, ignore_errors=True)
