"""One connection to a board with the OpenSSH client: opened once, used by every command, closed at the end.

The login shell of a board may be anything (fish, csh, a ``.bashrc`` that prints), so it only ever sees one fixed
command; scripts for ``sh`` travel on stdin, and what they write is between marks that nothing else prints.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgekit.benchmarking.executors.ssh.exchange import Exchange, OutputTooLongError
from edgekit.benchmarking.executors.ssh.failures import connection_failed, connection_lost, last_words
from edgekit.errors import DependencyError, DeviceError

CONNECT_S = 10.0
"""How long a board may take to answer at first."""

MAXIMUM_OUTPUT_BYTES = 64 << 20
"""Of each stream; a program that writes more has gone wild."""

CONFIG_VARIABLE = "EDGEKIT_SSH_CONFIG"
"""Names a file that the OpenSSH client reads instead of ~/.ssh/config."""

_LOGIN_S = 20.0
_CLOSE_S = 10.0
_END_S = 5.0
_ALIVE_INTERVAL_S = 5
_ALIVE_COUNT = 3
_TAIL_BYTES = 256
# Of sun_path on macOS, less what ssh appends while it makes the socket.
_LONGEST_SOCKET_PATH = 104 - 18

# dd takes no byte more than it is told: what follows the script on stdin is for the script. Scripts are in braces, so
# that the shell runs nothing of one that arrives in part.
_READ_AND_RUN = """exec sh -c 'eval "$(dd bs=1 count={size} 2>/dev/null)"'"""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a script wrote and how it ended."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class Connection:
    """A connection to ``host``. ``open`` it first, and ``close`` it whatever happens.

    All methods raise DeviceError. ``label`` is what errors call the board.
    """

    def __init__(self, label: str, host: str, connect_s: float = CONNECT_S) -> None:
        program = shutil.which("ssh")
        if program is None:
            raise DependencyError(f"{label}: the OpenSSH client, ssh, is not on PATH; install openssh-client")
        self.label = label
        self.host = host
        self._program = program
        self._connect_s = connect_s
        self._folder = _private_folder()
        self._master: subprocess.Popen[bytes] | None = None

    def open(self, script: str) -> str:
        """Connect, and start ``script``, whose stdin stays open as long as the connection is; returns its first line.

        Whatever ends the connection, the script can clean up when its stdin ends.
        """
        mark = _new_mark()
        script = _announced(script, mark)
        with (self._folder / "stderr").open("wb") as stderr:
            self._master = self._start(["ControlMaster=yes", "LogLevel=INFO"], script, stderr)
        exchange = Exchange(self._master, MAXIMUM_OUTPUT_BYTES)
        deadline = time.monotonic() + self._connect_s + _LOGIN_S
        try:
            exchange.send([script.encode(errors="surrogateescape")], deadline)
            exchange.read(deadline, lambda: _line_after(exchange.stdout, mark) is not None)
        except TimeoutError:
            raise DeviceError(
                f"{self.label}: connected, but no shell answered in {self._connect_s + _LOGIN_S:g} s; "
                f"ssh {self.host} sh -c true must work"
            ) from None
        finally:
            exchange.close()
        line = _line_after(exchange.stdout, mark)
        if line is None:
            raise self._not_opened(exchange.stdout.decode(errors="replace"))
        return line.decode(errors="surrogateescape")

    def run(
        self,
        script: str,
        *,
        timeout: float,
        payload: Iterable[bytes] = (),
        hold: bool = False,
        limit: int = MAXIMUM_OUTPUT_BYTES,
    ) -> Reply:
        """Run a script in the board's sh; ``payload`` is its stdin.

        With ``hold`` the stdin stays open until the script has ended, and is closed at ``timeout`` to make it end.
        Raises TimeoutError after that, and DeviceError when it writes more than ``limit`` bytes.
        """
        self._require_connection()
        begin, end = _new_mark(), _new_mark()
        script = _enclosed(script, begin, end)
        process = self._start(["ControlMaster=no", "ProxyCommand=false", "LogLevel=ERROR"], script, subprocess.PIPE)
        exchange = Exchange(process, limit)
        deadline = time.monotonic() + timeout

        def ended() -> bool:
            # What a program leaves running may hold its output open for ever.
            return all(_line_after(each[-_TAIL_BYTES:], end) is not None for each in (exchange.stdout, exchange.stderr))

        try:
            exchange.send([script.encode(errors="surrogateescape")], deadline)
            exchange.send(payload, deadline)
            if not hold:
                _close(process)
            exchange.read(deadline, ended)
        except TimeoutError:
            _close(process)
            with suppress(TimeoutError):
                exchange.read(time.monotonic() + _END_S, ended)
            raise
        except OutputTooLongError:
            raise DeviceError(f"{self.label}: a program wrote more than {limit >> 20} MiB; it was stopped") from None
        finally:
            exchange.close()
            _end(process)
        return self._reply(exchange, begin, end)

    def close(self) -> None:
        """End the script of ``open`` by closing its stdin, give it time to clean up, and disconnect."""
        master, self._master = self._master, None
        if master is not None:
            _close(master)
            with suppress(subprocess.TimeoutExpired):
                master.wait(_CLOSE_S)
            _end(master)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, options: Iterable[str], script: str, stderr: int | IO[bytes]) -> "subprocess.Popen[bytes]":
        config = os.environ.get(CONFIG_VARIABLE)
        options = (
            "BatchMode=yes",
            f"ConnectTimeout={max(1, round(self._connect_s))}",
            f"ServerAliveInterval={_ALIVE_INTERVAL_S}",
            f"ServerAliveCountMax={_ALIVE_COUNT}",
            "ControlPersist=no",
            "RemoteCommand=none",
            "ClearAllForwardings=yes",
            "ForwardAgent=no",
            "ForwardX11=no",
            *options,
        )
        command = [self._program, "-T", "-S", str(self._folder / "socket").replace("%", "%%")]
        command += ["-F", str(Path(config).expanduser())] if config else []
        command += [word for option in options for word in ("-o", option)]
        size = len(script.encode(errors="surrogateescape"))
        return subprocess.Popen(
            [*command, "--", self.host, _READ_AND_RUN.format(size=size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            bufsize=0,
            # Ctrl-C goes to edgekit alone, who ends what runs on the board while it still can.
            start_new_session=True,
        )

    def _require_connection(self) -> None:
        if self._master is None or self._master.poll() is not None:
            raise connection_lost(self.label, self._words())

    def _reply(self, exchange: Exchange, begin: bytes, end: bytes) -> Reply:
        code = _line_after(exchange.stdout, end)
        if code is None or not code.strip().isdigit():
            raise self._interrupted(bytes(exchange.stderr).partition(b"\n" + begin + b"\n"))
        stdout, stderr = (
            bytes(each).partition(b"\n" + begin + b"\n")[2].rpartition(b"\n" + end + b" ")[0]
            for each in (exchange.stdout, exchange.stderr)
        )
        return Reply(int(code), stdout, stderr)

    def _interrupted(self, stderr: tuple[bytes, bytes, bytes]) -> DeviceError:
        """The error for a script that did not reach its end: with it went the connection, or only its shell."""
        words = (stderr[2] or stderr[0]).decode(errors="replace")
        if self._master is not None:
            with suppress(subprocess.TimeoutExpired):
                self._master.wait(1.0)
        if self._master is None or self._master.poll() is not None:
            return connection_lost(self.label, self._words() or words)
        if not stderr[1] and words.strip():  # the session did not even begin
            return connection_failed(self.label, self.host, words)
        return DeviceError(f"{self.label}: its shell ended too early: {last_words(words)}; is the board out of memory?")

    def _not_opened(self, said: str) -> DeviceError:
        assert self._master is not None
        with suppress(subprocess.TimeoutExpired):
            self._master.wait(_END_S)
        words = self._words()
        if said.strip() and not words.strip():
            return DeviceError(
                f"{self.label}: its login shell runs no commands, it says: {last_words(said)}; "
                f"ssh {self.host} sh -c true must work"
            )
        return connection_failed(self.label, self.host, words or said)

    def _words(self) -> str:
        """What the connection itself wrote on stderr."""
        try:
            return (self._folder / "stderr").read_text(errors="replace")
        except OSError:
            return ""


def _private_folder() -> Path:
    """A folder for the socket, whose path must be short."""
    folder = Path(tempfile.mkdtemp(prefix="edgekit-ssh-"))
    if len(str(folder / "socket")) <= _LONGEST_SOCKET_PATH:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="edgekit-ssh-", dir="/tmp"))


def _new_mark() -> bytes:
    return f"edgekit-{secrets.token_hex(12)}".encode()


def _announced(script: str, mark: bytes) -> str:
    """``script``, which prints its first line with ``say``."""
    return f"{{\nsay() {{ printf '\\n{mark.decode()} %s\\n' \"$1\"; }}\n{script}\n}}"


def _enclosed(script: str, begin: bytes, end: bytes) -> str:
    """``script`` with marks around its output, and its exit code behind the last one."""
    first, last = (f"'\\n{mark.decode()}" for mark in (begin, end))
    return (
        f"{{\nprintf {first}\\n'; printf {first}\\n' >&2\n(\n{script}\n)\n"
        f"code=$?; printf {last} %d\\n' $code; printf {last} %d\\n' $code >&2\n}}"
    )


def _line_after(output: bytearray, mark: bytes) -> bytes | None:
    """The rest of the line that begins with ``mark``, when that line is whole."""
    _, found, rest = bytes(output).rpartition(b"\n" + mark + b" ")
    line, newline, _ = rest.partition(b"\n")
    return line if found and newline else None


def _close(process: "subprocess.Popen[bytes]") -> None:
    """Close its stdin."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill it, if need be, and free its pipes."""
    if process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
