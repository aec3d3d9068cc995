"""Why a program did not start: it is for another processor or system, or its folder allows no programs.

Shells and the C libraries' ``execvp`` differ in what they say then: they run a program that the kernel refuses as a
script. So the file itself is looked at.
"""

import posixpath
import re
from collections.abc import Sequence

from edgekit.benchmarking.elf import HEADER_BYTES, header_abi
from edgekit.benchmarking.executors import Completed, DeviceFacts
from edgekit.benchmarking.executors.adb.client import last_words
from edgekit.benchmarking.executors.adb.connection import Connection, quoted
from edgekit.errors import DeviceError

_CANNOT_START, _NOT_FOUND = 126, 127
# mksh, Android's shell, ends with 1 then.
_NOT_EXECUTABLE = "not executable: "


def did_not_start(completed: Completed) -> bool:
    """Whether a shell's exit code or words may mean that the program did not start at all."""
    return completed.exit_code in (_CANNOT_START, _NOT_FOUND) or _NOT_EXECUTABLE in completed.stderr


def explain_start(
    connection: Connection, facts: DeviceFacts, abis: tuple[str, ...], command: Sequence[str], completed: Completed
) -> None:
    """Raise DeviceError when the program in ``command`` is there but could not be started."""
    path = _program(command)
    if path is None:
        return
    file = quoted(path)
    looked = connection.shell_command(
        f"[ -f {file} ] || exit 0; [ -x {file} ]; echo $?; od -An -v -tu1 -N {HEADER_BYTES} {file}"
    ).split()
    if not looked:
        return
    reason = _reason(connection, facts, abis, path, looked, completed)
    if reason:
        words = last_words(completed.stderr or completed.stdout)
        raise DeviceError(f"{connection.name}: {posixpath.basename(path)} cannot be started ({words}): {reason}")


def program_name(command: Sequence[str]) -> str:
    """What to call a command that may start with taskset or env."""
    return posixpath.basename(_program(command) or command[0])


def _program(command: Sequence[str]) -> str | None:
    """The first word that is a path: taskset, env and sh are found by their names."""
    return next((word for word in command if re.fullmatch(r"\.?/[^\s=]*[^\s=/]", word)), None)


def _reason(
    connection: Connection,
    facts: DeviceFacts,
    abis: tuple[str, ...],
    path: str,
    looked: Sequence[str],
    completed: Completed,
) -> str | None:
    """``looked`` is the exit code of ``[ -x ]`` and the first bytes of the file."""
    built_for = header_abi(bytes(int(byte) for byte in looked[1:] if byte.isdecimal()))
    if built_for is not None and abis and built_for not in abis:
        return f"it is built for {built_for}, but {connection.name} runs {', '.join(abis)}"
    if looked[0] != "0" or "Permission denied" in completed.stderr:
        return (
            f"it is no program, or {posixpath.dirname(path)} is mounted without permission to run programs (noexec); "
            'set "folder" in the device profile'
        )
    missing = rf"{re.escape(posixpath.basename(path))}: (No such file|not found|inaccessible)"
    if re.search(missing, completed.stderr):
        return f"its loader is not there, so it is built for another system than {facts.os or 'the one there'}"
    return None
