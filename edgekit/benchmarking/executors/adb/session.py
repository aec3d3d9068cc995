"""The session's folder on the device: made at the start, gone at the end, and what dead sessions left goes too."""

import logging
import posixpath
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from edgekit.benchmarking.executors.adb.connection import QUICK_S, Connection, quoted
from edgekit.benchmarking.executors.adb.lock import locked
from edgekit.benchmarking.executors.adb.owner import parse_owner, this_process
from edgekit.errors import DeviceError, ProfileError

PID_FILE = ".pid"
"""In the session folder: the process group of the program that runs now; empty when none does."""

_STALE_DAYS = 1
_KEPT_DAYS = 30

_log = logging.getLogger(__name__)


@contextmanager
def session_folder(connection: Connection, base: str) -> Iterator[str]:
    """A folder below ``base`` for this process. At the end its program is stopped and the folder removed.

    When the device is gone by then, the next session does it.
    """
    if not base.startswith("/"):
        raise ProfileError(f'{connection.name}: "folder" is {base!r}; expected an absolute path on the device')
    folder = posixpath.join(base, f"session-{this_process()}-{secrets.token_hex(4)}")
    try:
        names = _make(connection, base, folder)
        with locked(connection, base):
            _remove_stale(connection, base, names)
            yield folder
    finally:
        _remove(connection, folder)


def end_program(connection: Connection, folder: str) -> None:
    """Kill the program that still runs in this session, with all that it started."""
    with suppress(DeviceError, TimeoutError):
        connection.shell(_end_program(folder), timeout=QUICK_S)


def _end_program(folder: str) -> str:
    # adbd makes every shell the leader of a process group; pkill is for those that do not. A number that is another
    # program's by now, as after a restart, is left alone: edgekit's shell has the session's folder in its command.
    return f"""
p=; {{ read -r p < {quoted(posixpath.join(folder, PID_FILE))}; }} 2>/dev/null
[ -n "$p" ] && case "$(tr '\\0' ' ' < /proc/$p/cmdline 2>/dev/null)" in *{posixpath.basename(folder)}*)
  kill -9 -$p 2>/dev/null || kill -9 -- -$p 2>/dev/null || {{ pkill -9 -P $p; kill -9 $p; }} 2>/dev/null ;;
esac
true"""


def _make(connection: Connection, base: str, folder: str) -> list[str]:
    """Make the folder; all that is in ``base`` then."""
    pid = posixpath.join(folder, PID_FILE)
    try:
        return connection.shell_command(f"mkdir -p {quoted(folder)} && : > {quoted(pid)} && ls {quoted(base)}").split()
    except DeviceError as error:
        if not re.search(r"denied|not permitted|Read-only|No space|Not a directory", str(error)):
            raise
        raise DeviceError(
            f'{error}: {base} cannot be written; make room there, or set "folder" in the device profile'
        ) from None


def _remove(connection: Connection, folder: str) -> None:
    try:
        connection.shell_command(f"{_end_program(folder)}\nrm -rf {quoted(folder)}")
    except DeviceError:
        _log.warning("%s: %s is left there; the next benchmark removes it", connection.name, folder)


def _remove_stale(connection: Connection, base: str, names: list[str]) -> None:
    """Remove the sessions of this machine's dead processes, and those and kept files that nobody has used for long."""
    dead = [posixpath.join(base, name) for name in names if _is_dead(name)]
    for folder in dead:
        end_program(connection, folder)
    old = "".join(
        f'for f in {quoted(base)}/{pattern}; do [ -d "$f" ] && '
        f'[ -n "$(find "$f" -maxdepth 0 -mtime +{days} 2>/dev/null)" ] && rm -rf "$f"; done\n'
        for pattern, days in (("session-*", _STALE_DAYS), ("kept/*", _KEPT_DAYS))
    )
    connection.shell_command(f"rm -rf {quoted(*dead)}\n{old}true" if dead else f"{old}true")


def _is_dead(name: str) -> bool:
    owner = parse_owner(name.removeprefix("session-").rpartition("-")[0])
    return owner is not None and owner.is_dead
