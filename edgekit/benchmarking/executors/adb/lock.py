"""One benchmark per device at a time: two would measure each other.

The lock is a folder on the device, made in one step, with a file that says whose it is. Every program that is run
touches it: one that has rested for hours belongs to a machine that was switched off.
"""

import platform
import posixpath
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from edgekit.benchmarking.executors.adb.connection import Connection, quoted
from edgekit.benchmarking.executors.adb.owner import parse_owner, this_process
from edgekit.errors import DeviceError

STALE_MINUTES = 180
"""No program may run for so long without that another one is started."""

_NAME = "lock"
_ATTEMPTS = 3


def lock_of(session: str) -> str:
    """The lock of the device on which the session folder is."""
    return posixpath.join(posixpath.dirname(session), _NAME)


@contextmanager
def locked(connection: Connection, base: str) -> Iterator[None]:
    """Hold the lock in the folder ``base`` of the device. Raises DeviceError when another process has it."""
    lock = posixpath.join(base, _NAME)
    mine = f"{this_process()} {secrets.token_hex(4)}"
    _take(connection, lock, mine)
    try:
        yield
    finally:
        # When the device is gone it is taken over later.
        with suppress(DeviceError):
            connection.shell_command(f"{_if_owner_is(lock, mine)} && rm -rf {quoted(lock)}; true")


def _take(connection: Connection, lock: str, mine: str) -> None:
    owner = posixpath.join(lock, "owner")
    line = f"{mine} {platform.node() or 'unknown'}"
    # A lock without a word of its owner is one that is just being made, or whose maker died then.
    script = (
        f"if mkdir {quoted(lock)} 2>/dev/null; then "
        f'echo {quoted(line)} "$(date +%Y-%m-%dT%H:%M:%S%z)" > {quoted(owner)}; echo taken; '
        f"else cat {quoted(owner)} 2>/dev/null || echo nobody; "
        f'[ -z "$(find {quoted(lock)} -maxdepth 0 -mmin +{STALE_MINUTES} 2>/dev/null)" ] || echo stale; fi'
    )
    said: list[str] = []
    for _ in range(_ATTEMPTS):
        said = connection.shell_command(script).splitlines()
        if said[:1] == ["taken"]:
            return
        words = (said[0] if said else "").split()
        owned_by = parse_owner(words[0]) if words else None
        if not (said[-1:] == ["stale"] or (owned_by is not None and owned_by.is_dead)):
            break
        # Whoever renames it may remove it: another one may take it over at the same time.
        gone = f"{lock}-{secrets.token_hex(4)}"
        taken_over = (
            f"{_if_owner_is(lock, ' '.join(words[:2]))} && mv {quoted(lock, gone)} && rm -rf {quoted(gone)}; true"
        )
        connection.shell_command(taken_over)
    raise DeviceError(_in_use(connection, lock, said))


def _if_owner_is(lock: str, owner: str) -> str:
    """A test in the device's shell."""
    if not parse_owner(owner.partition(" ")[0]):
        return "true"
    return f"grep -q {quoted('^' + owner + ' ')} {quoted(posixpath.join(lock, 'owner'))} 2>/dev/null"


def _in_use(connection: Connection, lock: str, said: list[str]) -> str:
    words = (said[0] if said else "").split()
    owner = parse_owner(words[0]) if words else None
    who = "another edgekit"
    if owner is not None and len(words) > 3:
        who = f"{words[2]} pid {owner.pid} since {words[3]} (its clock)"
    return (
        f"{connection.name} is in use by {who}; wait for it, or, when nothing measures there, "
        f"`adb -s {connection.serial} shell rm -r {lock}`"
    )
