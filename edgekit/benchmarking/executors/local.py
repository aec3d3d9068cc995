"""This machine: nothing is copied, and every program runs in a session of its own, which ends with it."""

import os
import platform
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from edgekit.benchmarking.executors import Completed, DeviceFacts
from edgekit.benchmarking.facts import read_facts
from edgekit.errors import DeviceError
from edgekit.profiles.device import Device

MAXIMUM_OUTPUT_BYTES = 1 << 26
"""Of each stream; a program that writes more is an error, once it has ended."""

_FACTS_TIMEOUT_S = 30.0
_KILLED_GRACE_S = 5.0
_CHUNK_BYTES = 1 << 16


@contextmanager
def open_executor(device: Device) -> Iterator["LocalExecutor"]:
    """This machine, with a temporary folder for the time of the context."""
    with tempfile.TemporaryDirectory(prefix="edgekit-benchmark-", ignore_cleanup_errors=True) as folder:
        yield LocalExecutor(device, Path(folder).resolve())


class LocalExecutor:
    """Runs programs here; see :class:`edgekit.benchmarking.executors.Executor`."""

    def __init__(self, device: Device, folder: Path) -> None:
        self._name = device.name
        self._folder = folder
        self.facts = _facts(self, device)

    @property
    def folder(self) -> str:
        """The temporary folder."""
        return str(self._folder)

    def push(self, path: Path, *, executable: bool = False, keep: bool = False) -> str:
        """The file's own absolute path: it is here already."""
        if not path.exists():
            raise DeviceError(f"{path}: no such file; expected one to use on {self._name}")
        return str(path.absolute())

    def run(self, command: Sequence[str], *, timeout: float) -> Completed:
        """Run a program in the temporary folder; it and its children are killed after ``timeout`` or an interrupt."""
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._folder,
                # Ctrl-C goes to edgekit alone, who ends the program and all its children.
                start_new_session=True,
            )
        except OSError as error:
            raise DeviceError(
                f"{self._name}: cannot run {command[0]}: {error.strerror}; expected a program for this machine"
            ) from None
        return self._finish(process, command, timeout)

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file of the temporary folder, or of anywhere on this machine."""
        try:
            shutil.copyfile(self._folder / remote, local)
        except OSError as error:
            raise DeviceError(f"{self._name}: {remote}: cannot be copied to {local}: {error.strerror}") from None

    def _finish(self, process: subprocess.Popen[bytes], command: Sequence[str], timeout: float) -> Completed:
        stdout, stderr = _Capture(process.stdout), _Capture(process.stderr)
        try:
            exit_code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise DeviceError(
                f"{self._name}: {command[0]} did not end within {timeout:g} s; it was killed: "
                "check the file, or whether the machine is overloaded"
            ) from None
        finally:
            _kill_session(process)
        completed = Completed(exit_code, stdout.text(), stderr.text())
        if stdout.is_cut or stderr.is_cut:
            raise DeviceError(
                f"{self._name}: {command[0]} wrote more than {MAXIMUM_OUTPUT_BYTES / (1 << 20):g} MiB; "
                "expected a program that writes a result: check what it prints"
            )
        return completed


class _Capture:
    """What a program writes, read by a thread so that it never blocks, and bounded."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        assert stream is not None
        self._stream = stream
        self._content = bytearray()
        self.is_cut = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> str:
        # A grandchild that left the session may hold the pipe open for ever.
        self._thread.join(_KILLED_GRACE_S)
        return bytes(self._content).decode(errors="replace")

    def _read(self) -> None:
        with self._stream:
            while chunk := os.read(self._stream.fileno(), _CHUNK_BYTES):
                self.is_cut = self.is_cut or len(self._content) + len(chunk) > MAXIMUM_OUTPUT_BYTES
                self._content += chunk[: MAXIMUM_OUTPUT_BYTES - len(self._content)]


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """End what the program started, too: it would disturb the next measurement."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _facts(executor: LocalExecutor, device: Device) -> DeviceFacts:
    """What the shell tells, and Python where there is no /proc."""
    facts = read_facts(lambda command: executor.run(command, timeout=_FACTS_TIMEOUT_S), device.name, "local")
    cores = facts.cores or tuple(range(os.cpu_count() or 1))
    maximum = facts.maximum_mhz if facts.cores else (None,) * len(cores)
    return replace(facts, cores=cores, maximum_mhz=maximum, os=facts.os or platform.platform(terse=True) or None)
