"""Scripts for a device's ``sh`` (dash, bash, mksh as on Android, busybox), which print ``key=value`` lines.

mksh calculates in 32 bits: a script leaves arithmetic on large numbers to who reads its output.
"""

from collections.abc import Callable, Mapping, Sequence

from edgekit.benchmarking.executors import Completed

Run = Callable[[Sequence[str]], Completed]
"""Runs a command on a device, like :meth:`edgekit.benchmarking.executors.Executor.run` with its time-out set."""

Values = Mapping[str, tuple[str, ...]]
"""Every value of a key, in the order of the lines."""

NOW = """
if [ -z "${CLOCK:-}" ]; then
  CLOCK=uptime
  case $(date +%s%N 2>/dev/null) in ''|*[!0-9]*) ;; *) CLOCK=date ;; esac
fi
now() {
  if [ $CLOCK = date ]; then date +%s%N; else { read -r up idle < /proc/uptime; } 2>/dev/null; echo "${up}s"; fi
}
"""
"""Defines ``now``: nanoseconds, or seconds with the unit where ``date`` has no ``%N``; see :func:`seconds`."""


def parse_values(text: str) -> Values:
    """The ``key=value`` lines of ``text``; lines of another form are somebody else's."""
    values: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key:
            values[key] = (*values.get(key, ()), value.strip())
    return values


def first(values: Values, key: str) -> str | None:
    """The first value of ``key`` that is not empty, or None."""
    return next((value for value in values.get(key, ()) if value), None)


def number(text: str | None) -> float | None:
    """A finite decimal number, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def seconds(moment: str) -> float | None:
    """What ``now`` printed, in seconds; only differences mean anything."""
    value = number(moment.removesuffix("s"))
    if value is None:
        return None
    return value if moment.endswith("s") else value / 1e9
