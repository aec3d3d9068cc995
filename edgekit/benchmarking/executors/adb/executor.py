"""Run programs on an Android device, or a board with adbd."""

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from edgekit.benchmarking.elf import require_abi
from edgekit.benchmarking.executors import Completed, DeviceFacts
from edgekit.benchmarking.executors.adb.client import Adb, last_words
from edgekit.benchmarking.executors.adb.connection import QUICK_S, Connection, quoted
from edgekit.benchmarking.executors.adb.files import Store, content_name, items
from edgekit.benchmarking.executors.adb.listing import find_serial
from edgekit.benchmarking.executors.adb.lock import lock_of
from edgekit.benchmarking.executors.adb.session import PID_FILE, end_program, session_folder
from edgekit.benchmarking.executors.adb.settings import fixed_performance
from edgekit.benchmarking.executors.adb.starting import did_not_start, explain_start, program_name
from edgekit.benchmarking.facts import read_facts
from edgekit.errors import DeviceError
from edgekit.profiles.device import Device

DEFAULT_FOLDER = "/data/local/tmp/edgekit"
"""The only place where Android lets the shell user both write and run programs."""


@contextmanager
def open_executor(device: Device) -> Iterator["AdbExecutor"]:
    """Connect to ``device``; see :func:`edgekit.benchmarking.executors.open_executor`."""
    adb = Adb()
    connection = Connection(adb, find_serial(adb, device))
    with ExitStack() as stack:
        if connection.open():
            stack.callback(_leave, connection)
        facts = read_device_facts(connection, device.name)
        abis, api_level = _traits(connection, facts)
        if device.abi is not None and abis and device.abi not in abis:
            raise DeviceError(
                f"{device.name}: its profile says {device.abi}, but the device runs {', '.join(abis)}; "
                'correct "abi" or "serial" in the profile'
            )
        session = stack.enter_context(session_folder(connection, device.folder or DEFAULT_FOLDER))
        fixed = stack.enter_context(fixed_performance(connection, api_level))
        yield AdbExecutor(
            connection, replace(facts, abi=device.abi or facts.abi, fixed_performance=fixed), abis, session
        )


class AdbExecutor:
    """One device with a session folder of its own; ``abis`` are all that it runs, ``facts.abi`` the preferred one."""

    def __init__(self, connection: Connection, facts: DeviceFacts, abis: tuple[str, ...], folder: str) -> None:
        self.facts = facts
        self._abis = abis
        self._connection = connection
        self._folder = folder
        self._store = Store(connection, posixpath.join(folder, "incoming"))

    @property
    def folder(self) -> str:
        """This session's own folder on the device."""
        return self._folder

    def push(self, path: Path, *, executable: bool = False, keep: bool = False) -> str:
        """Send a file or a folder unless it is there already, byte for byte; its path on the device."""
        wanted = items(path)
        for item in wanted:
            require_abi(item.local, self._abis, self._connection.name)
        content = content_name(wanted)
        kept = posixpath.join(posixpath.dirname(self._folder), "kept", content)
        sent = posixpath.join(self._folder, "files", content)
        folder = self._store.holder((kept, sent), wanted)
        if folder is None:
            folder = kept if keep else sent
            self._store.send(folder, wanted, executable=executable)
        remote = posixpath.join(folder, path.name)
        # What was there already counts as used today, and may have been no program then.
        mode = f" && chmod -R 755 {quoted(remote)}" if executable else ""
        self._connection.shell_command(f"touch {quoted(folder)}{mode}")
        return remote

    def run(self, command: Sequence[str], *, timeout: float) -> Completed:
        """Run a program in the session folder; see :class:`edgekit.benchmarking.executors.Executor`."""
        pid = posixpath.join(self._folder, PID_FILE)
        script = (
            f"touch {quoted(lock_of(self._folder))}; "
            f"cd {quoted(self._folder)} && echo $$ > {quoted(pid)} && {quoted(*command)} </dev/null; "
            f"code=$?; : > {quoted(pid)}; exit $code"
        )
        try:
            completed = self._connection.shell(script, timeout=timeout)
        except TimeoutError:
            end_program(self._connection, self._folder)
            raise DeviceError(
                f"{self._connection.name}: {program_name(command)} was not done after {timeout:g} s and was stopped; "
                "does the device sleep, or is the model too slow for it?"
            ) from None
        if did_not_start(completed):
            explain_start(self._connection, self.facts, self._abis, command, completed)
        return completed

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file of the device to ``local``; relative paths start at the session folder."""
        path = posixpath.join(self._folder, remote)
        size = self._connection.shell_command(f"[ -f {quoted(path)} ] && wc -c < {quoted(path)}; true").strip()
        if not size.isdecimal():
            raise DeviceError(f"{self._connection.name}: {path}: no such file; the program has not written it")
        output = self._connection.pull(path, local, int(size))
        if output.exit_code != 0:
            words = last_words(output.stderr or output.stdout)
            raise DeviceError(f"{self._connection.name}: {path} could not be copied to {local}: {words}")
        if not local.is_file() or local.stat().st_size != int(size):
            raise DeviceError(f"{self._connection.name}: {path} arrived incomplete; check the cable and try again")


def read_device_facts(connection: Connection, name: str) -> DeviceFacts:
    """What the device says of itself, whether it is Android or another Linux."""

    def run(command: Sequence[str]) -> Completed:
        try:
            return connection.shell(quoted(*command), timeout=QUICK_S)
        except TimeoutError:
            raise connection.silent(QUICK_S) from None

    return read_facts(run, name, "adb")


def _leave(connection: Connection) -> None:
    with suppress(DeviceError, TimeoutError):
        connection.close()


def _traits(connection: Connection, facts: DeviceFacts) -> tuple[tuple[str, ...], int | None]:
    """All ABIs that the device runs (a 64-bit Android mostly runs 32-bit programs too), and Android's API level."""
    script = 'for key in ro.product.cpu.abilist ro.build.version.sdk; do echo "$(getprop $key 2>/dev/null)"; done'
    listed, level = connection.shell_command(script).split("\n")[:2]
    abis = dict.fromkeys(abi.strip() for abi in (facts.abi or "", *listed.split(",")) if abi.strip())
    return tuple(abis), int(level) if level.strip().isdecimal() else None
