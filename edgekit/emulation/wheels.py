"""The runtimes' wheels for a foreign machine, in the versions that are installed here, fetched by this Python's pip."""

import importlib.util
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from edgekit.emulation.commands import run
from edgekit.emulation.debian import Packages
from edgekit.errors import DependencyError

RUNTIMES = {"tflite": "ai-edge-litert", "onnx": "onnxruntime", "mnn": "MNN"}
"""The package of each format's runtime."""

_NUMPY = "2.4.6"
_OLDEST_GLIBC = 17
_HEAD_TIMEOUT_S = 10.0


def requirements() -> list[str]:
    """``name==version`` of every runtime that is installed here, and numpy; what they depend on is not needed to run.

    numpy only carries the arrays: it is of one version that every Python from 3.11 on has wheels of.
    """
    pinned = []
    for package in RUNTIMES.values():
        try:
            pinned.append(f"{package}=={metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return [*pinned, f"numpy=={_NUMPY}"]


class Wheels:
    """pip for a foreign ``machine``, whose Debian ``packages`` say which Python and C library it has."""

    def __init__(self, machine: str, packages: Packages) -> None:
        if importlib.util.find_spec("pip") is None:
            raise DependencyError(
                f"{sys.executable} has no pip, which fetches the {machine} wheels: python -m ensurepip, "
                "or pass --sysroot DIR"
            )
        self._machine = machine
        self._packages = packages

    def bytes(self) -> int | None:
        """How much will be downloaded; None when the index does not tell."""
        report = json.loads(self._run("--dry-run", "--report", "-", "--target", "nowhere"))
        sizes = [_size(entry["download_info"]) for entry in report["install"]]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def install(self, folder: Path) -> None:
        """Unpack the wheels into ``folder``. Raises DependencyError."""
        self._run("--no-compile", "--target", str(folder))

    def _run(self, *arguments: str) -> str:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
        what = f"fetching the {self._machine} wheels of the runtimes (or pass --sysroot DIR)"
        return run([*pip, *arguments, *self._tags(), *requirements()], what)

    def _tags(self) -> Sequence[str]:
        """What pip shall take for granted of the foreign machine."""
        glibcs = range(self._packages.glibc, _OLDEST_GLIBC - 1, -1)
        platforms = [f"manylinux_2_{minor}_{self._machine}" for minor in glibcs] + [f"manylinux2014_{self._machine}"]
        python = f"3{self._packages.python}"
        return [
            *("--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", python),
            *(word for abi in (f"cp{python}", "abi3", "none") for word in ("--abi", abi)),
            *(word for platform in platforms for word in ("--platform", platform)),
        ]


def _size(source: Mapping[str, Any]) -> int | None:
    url = urllib.parse.urlsplit(source["url"])
    if url.scheme == "file":
        return Path(urllib.parse.unquote(url.path)).stat().st_size
    try:
        request = urllib.request.Request(source["url"], method="HEAD")
        with urllib.request.urlopen(request, timeout=_HEAD_TIMEOUT_S) as response:
            length = response.headers["Content-Length"]
    except (urllib.error.URLError, TimeoutError, ValueError):
        return None
    return int(length) if length else None
