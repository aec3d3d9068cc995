"""Which process of which machine a session on a device belongs to, and whether that one still lives.

Containers share a host's name, or have the same one, and number their processes alike: their namespace tells them
apart, and the start of a process tells it from a later one with its number.
"""

import hashlib
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

_FORM = re.compile(r"([0-9a-f]{8})-(\d+)-(\d+)")
_STARTED = 19
"""In /proc/PID/stat behind the name: field 22 of proc(5), in clock ticks since the machine was started."""


@dataclass(frozen=True, slots=True)
class Owner:
    """``machine`` is a hash of the host's name and of the namespace in which ``pid`` counts.

    ``started`` is 0 where the system does not tell.
    """

    machine: str
    pid: int
    started: int

    def __str__(self) -> str:
        return f"{self.machine}-{self.pid}-{self.started}"

    @property
    def is_dead(self) -> bool:
        """Whether the process is known to have ended: false for those of other machines."""
        if self.machine != this_process().machine:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):
            pass
        return self.started not in (0, _started(self.pid))


def this_process() -> Owner:
    """The owner that this process is."""
    known = platform.node() + _namespace()
    return Owner(hashlib.sha256(known.encode()).hexdigest()[:8], os.getpid(), _started(os.getpid()))


def parse_owner(text: str) -> Owner | None:
    """The owner that ``str`` wrote; None for anything else."""
    match = _FORM.fullmatch(text)
    return match and Owner(match[1], int(match[2]), int(match[3]))


def _namespace() -> str:
    try:
        return f" {Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # no Linux
        return ""


def _started(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()
    return int(fields[_STARTED]) if len(fields) > _STARTED else 0
