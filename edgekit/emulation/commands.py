"""Run the host's own tools (apt-get, dpkg-deb, pip, qemu) and turn their failures into one line."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgekit.errors import DependencyError

_TIMEOUT_S = 1800.0


def run(command: Sequence[str | Path], what: str, *, cwd: Path | None = None) -> str:
    """The standard output of ``command``. Raises DependencyError: ``what`` it was doing, and its last words."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=cwd,
            timeout=_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
        )
    except FileNotFoundError as error:
        raise DependencyError(f"{what}: {words[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise DependencyError(f"{what}: {words[0]} did not end in {_TIMEOUT_S:g} s; check the network") from error
    if done.returncode != 0:
        raise DependencyError(f"{what}: {Path(words[0]).name} failed: {_last_words(done.stderr or done.stdout)}")
    return done.stdout


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("E:", "ERROR", "error"))]
    return " | ".join((telling or lines)[-2:]) or "it said nothing"
