"""Android's fixed-performance mode: steady clocks while it is measured, off again afterwards whatever happens."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from edgekit.benchmarking.executors.adb.connection import QUICK_S, Connection
from edgekit.errors import DeviceError

FIRST_API_LEVEL = 30
"""Android 11 brought the mode; many devices' power service still refuses it."""

_COMMAND = "cmd power set-fixed-performance-mode-enabled"

_log = logging.getLogger(__name__)


@contextmanager
def fixed_performance(connection: Connection, api_level: int | None) -> Iterator[bool | None]:
    """Switch the mode on where the device has it, and off at the end: Android does not tell whether it was on before.

    Yields whether it is on, None where there is none.

    When it cannot be switched off, DeviceError says so; an error that is on its way gets that sentence too.
    """
    if api_level is None or api_level < FIRST_API_LEVEL:
        yield None
        return
    on = True  # until the device says no: an interrupt may come while it answers
    try:
        on = _switch(connection, "true")
        yield on
    except DeviceError as error:
        left_on = _switch_off(connection) if on else ""
        raise (DeviceError(f"{error}; {left_on}") if left_on else error) from error.__cause__
    except BaseException:
        left_on = _switch_off(connection) if on else ""
        if left_on:
            _log.warning("%s", left_on)
        raise
    else:
        left_on = _switch_off(connection) if on else ""
        if left_on:
            raise DeviceError(left_on)


def _switch(connection: Connection, value: str) -> bool:
    try:
        return connection.shell(f"{_COMMAND} {value}", timeout=QUICK_S).exit_code == 0
    except TimeoutError:
        raise connection.silent(QUICK_S) from None


def _switch_off(connection: Connection) -> str:
    """What the user must do when it did not work, else nothing."""
    try:
        if _switch(connection, "false"):
            return ""
    except DeviceError:
        pass
    return (
        f"fixed-performance mode is still on there: restart {connection.name}, or type "
        f"`adb -s {connection.serial} shell {_COMMAND} false`"
    )
