"""Files and programs on a board; see :class:`edgekit.benchmarking.executors.Executor`."""

import hashlib
import os
import platform
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgekit.benchmarking.elf import require_abi
from edgekit.benchmarking.executors import Completed, DeviceFacts
from edgekit.benchmarking.executors.ssh import scripts
from edgekit.benchmarking.executors.ssh.connection import CONNECT_S, Connection, Reply
from edgekit.benchmarking.executors.ssh.failures import cannot_write, last_words
from edgekit.benchmarking.executors.ssh.tree import File, Tree, read_tree
from edgekit.benchmarking.facts import read_facts
from edgekit.errors import DeviceError
from edgekit.files import replace_file
from edgekit.profiles.device import Device

_COMMAND_S = 60.0
_SLOWEST_BYTES_PER_S = 50_000
_LARGEST_PULL_BYTES = 4 << 30


@contextmanager
def open_executor(device: Device, connect_s: float = CONNECT_S) -> Iterator["SshExecutor"]:
    """Connect to ``device.host``; see :func:`edgekit.benchmarking.executors.open_executor`.

    ``connect_s`` is how long the board may take to answer at first.
    """
    host = device.host
    if host is None or host.startswith("-"):
        raise DeviceError(f"{device.name}: ssh host {host!r}; expected a host name, user@host or ssh://user@host:port")
    label = device.name if host in device.name else f"{device.name} ({host})"
    connection = Connection(label, host, connect_s)
    try:
        base = scripts.given_base(device.folder) if device.folder else scripts.default_base()
        state, _, rest = connection.open(scripts.session_script(base, f"session.{secrets.token_hex(8)}")).partition(" ")
        if state != "ok":
            folder, _, words = rest.partition(": ")
            raise cannot_write(label, folder, words)
        executor = SshExecutor(connection, device, rest)
        _check_abi(executor.facts, device, label)
        yield executor
    finally:
        connection.close()


class SshExecutor:
    """Runs programs on a board over an open connection. Kept files are in ``<folder>/<sha256>``."""

    def __init__(self, connection: Connection, device: Device, session: str) -> None:
        self._connection = connection
        self._label = connection.label
        self._session = session
        self._base = session.rpartition("/")[0]
        self._locked = False
        self.facts = read_facts(lambda command: self.run(command, timeout=_COMMAND_S), device.name, "ssh")

    @property
    def folder(self) -> str:
        """This session's own folder on the board."""
        return self._session

    def push(self, path: Path, *, executable: bool = False, keep: bool = False) -> str:
        """Send a file or the files of a folder, each unless it is there with the same sha256. Raises DeviceError.

        The first one locks the board for this session: two benchmarks at a time would measure each other.
        """
        self._lock()
        tree = read_tree(path, executable)
        for file in tree.files:
            require_abi(file.path, (self.facts.abi,) if self.facts.abi else (), self._label)
        kept, own = f"{self._base}/{tree.sha256}", f"{self._session}/{tree.sha256}"
        present = self._present(tree, [kept] if keep else [kept, own])
        folder = next((folder for folder, files in present.items() if len(files) == len(tree.files)), None)
        if folder is None:
            folder = kept if keep else own
            for file in tree.files:
                if file not in present[folder]:
                    self._send(file, f"{folder}/{file.relative}")
        return f"{folder}/{tree.name}"

    def run(self, command: Sequence[str], *, timeout: float) -> Completed:
        """Run a program; its exit code is 128 + the signal when one ended it, as shells have it."""
        try:
            reply = self._connection.run(scripts.run_script(self._session, command), timeout=timeout, hold=True)
        except TimeoutError:
            raise DeviceError(
                f"{self._label}: {command[0]} did not end within {timeout:g} s; it was killed: "
                "check the file, or whether the board is overloaded"
            ) from None
        return Completed(reply.exit_code, _text(reply.stdout), _text(reply.stderr))

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file of the board; ``local`` is written when all of it is there."""
        reply = self._shell(
            scripts.send_script(self._session, remote), f"reading {remote}", limit=_LARGEST_PULL_BYTES, timeout=3600.0
        )
        if reply.exit_code == scripts.NO_SUCH_FILE:
            raise DeviceError(f"{self._label}: {remote}: no such file; expected one that a program has written there")
        sha256, _, content = reply.stdout.partition(b"\n")
        if reply.exit_code != 0 or hashlib.sha256(content).hexdigest().encode() != sha256:
            raise DeviceError(
                f"{self._label}: {remote}: cannot be read whole: {last_words(_text(reply.stderr))}; try again"
            )
        _write(local, content)

    def _lock(self) -> None:
        if self._locked:
            return
        who = f"{platform.node() or 'unknown'} pid {os.getpid()}"
        reply = self._shell(scripts.lock_script(self._session, who), "locking it")
        if reply.exit_code == scripts.IN_USE:
            raise DeviceError(
                f"{self._label} is in use by {last_words(_text(reply.stdout))} (its clock); wait for it, or, when "
                f"nothing measures there, remove {self._base}/lock"
            )
        self._locked = True

    def _present(self, tree: Tree, folders: Sequence[str]) -> dict[str, set[File]]:
        """The files that each folder has, with their right content."""
        pairs = [(folder, file) for folder in folders for file in tree.files]
        script = scripts.hash_script([(f"{folder}/{file.relative}", file.executable) for folder, file in pairs])
        reply = self._shell(script, f"hashing {tree.name}")
        sums = [line.partition(" ")[0] for line in _text(reply.stdout).splitlines()]
        present: dict[str, set[File]] = {folder: set() for folder in folders}
        for (folder, file), sha256 in zip(pairs, sums, strict=False):
            if sha256 == file.sha256:
                present[folder].add(file)
        return present

    def _send(self, file: File, path: str) -> None:
        temporary = f".part.{secrets.token_hex(4)}"
        script = scripts.receive_script(path, file.sha256, file.executable, temporary)
        reply = self._shell(
            script,
            f"receiving {file.relative}",
            timeout=_COMMAND_S + file.size / _SLOWEST_BYTES_PER_S,
            content=file,
        )
        if reply.exit_code == scripts.NO_SUCH_PROGRAM:
            raise DeviceError(f"{self._label}: it has no sha256sum; install coreutils or busybox there")
        if reply.exit_code == scripts.NOT_THE_SAME:
            raise DeviceError(
                f"{self._label}: {file.path}: arrived with another sha256; did it change meanwhile? try again"
            )
        if reply.exit_code == scripts.NOT_EXECUTABLE:
            raise DeviceError(
                f"{self._label}: {self._base} allows no programs (it is mounted noexec); "
                'set "folder" in the device profile to a folder that does'
            )
        if reply.exit_code != 0:
            raise cannot_write(self._label, path, _text(reply.stderr))

    def _shell(
        self,
        script: str,
        doing: str,
        *,
        timeout: float = _COMMAND_S,
        content: File | None = None,
        limit: int = _LARGEST_PULL_BYTES,
    ) -> Reply:
        try:
            return self._connection.run(
                script, timeout=timeout, payload=content.chunks() if content else (), limit=limit
            )
        except TimeoutError:
            raise DeviceError(
                f"{self._label}: no answer in {timeout:.0f} s while {doing}; is it overloaded, or its disk failing?"
            ) from None


def _check_abi(facts: DeviceFacts, device: Device, label: str) -> None:
    if device.abi is not None and facts.abi is not None and device.abi != facts.abi:
        raise DeviceError(
            f'{label}: its ABI is {facts.abi}, but {device.path or device.name} says abi = "{device.abi}"; '
            "correct the profile, or its host"
        )


def _text(content: bytes) -> str:
    return content.decode(errors="replace")


def _write(path: Path, content: bytes) -> None:
    try:
        replace_file(path, content)
    except OSError as error:
        raise DeviceError(f"{path}: cannot be written: {error.strerror}; choose another place") from None
