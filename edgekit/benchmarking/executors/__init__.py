"""Where programs run: this machine, a device over adb, a board over ssh; one module per kind, imported when chosen.

An executor knows nothing of models, runtimes or measuring. To add a kind, write ``executors/<kind>.py`` with a function
``open_executor(device)`` and a row in ``_MODULES``.
"""

import importlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from edgekit.profiles.device import Device

_MODULES = {
    "local": "edgekit.benchmarking.executors.local",
    "adb": "edgekit.benchmarking.executors.adb",
    "ssh": "edgekit.benchmarking.executors.ssh",
}


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What a device says of itself; None is what it cannot tell.

    ``abi`` is in Android's words (arm64-v8a, armeabi-v7a, x86_64, riscv64) for every kind of device; ``os`` is like
    "Android 14 (API 34)" or "Debian GNU/Linux 12 (bookworm)". ``cores`` are the numbers of the cores that may be used,
    ``maximum_mhz`` the highest frequency of each of them, in that order. ``siblings`` are the groups of cores that are
    hardware threads of one physical core (SMT), also of those that may not be used; none on most ARM processors.
    """

    name: str
    kind: str
    model: str | None = None
    soc: str | None = None
    abi: str | None = None
    os: str | None = None
    fingerprint: str | None = None
    cores: tuple[int, ...] = ()
    maximum_mhz: tuple[float | None, ...] = ()
    fixed_performance: bool | None = None
    siblings: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended on the device: its exit code and everything that it wrote."""

    exit_code: int
    stdout: str
    stderr: str


class Executor(Protocol):
    """One opened device. All methods raise DeviceError, which says what to do, when the device fails or is gone."""

    facts: DeviceFacts

    def push(self, path: Path, *, executable: bool = False, keep: bool = False) -> str:
        """Make a local file (or folder) available on the device and return its path there.

        The content decides: a file is sent unless one with its sha256 is there already. ``keep`` leaves it on the
        device for the next time (programs and libraries); everything else is removed when the executor is closed.
        """
        ...

    def run(self, command: Sequence[str], *, timeout: float) -> Completed:
        """Run a program, wait for its end and return what it wrote. A failing exit code is no error here.

        Its working directory is this session's own ``folder`` on the device. After ``timeout`` seconds the program is
        killed on the device and DeviceError raised.
        """
        ...

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file of the device (a path relative to ``folder``, or absolute) to ``local``."""
        ...

    @property
    def folder(self) -> str:
        """This session's own folder on the device; it goes when the executor is closed."""
        ...


def open_executor(device: Device) -> AbstractContextManager[Executor]:
    """Connect to ``device``. Leaving the context removes what was pushed and restores what was changed.

    Entering raises DeviceError when the device is missing, offline or unauthorized, or is not what the profile says.
    """
    module = importlib.import_module(_MODULES[device.kind])
    return cast(AbstractContextManager[Executor], module.open_executor(device))
