"""A fixed piece of work in the device's shell, timed before and after: a device that has throttled does it slower.

It is an integer loop, in as many copies as the measured program has threads, on the same cores. It needs no program on
the device and takes its time there: no connection is in the figure.
"""

from dataclasses import dataclass, replace
from typing import Self

from edgekit.benchmarking.cores import pinned
from edgekit.benchmarking.executors import Executor
from edgekit.benchmarking.shell import NOW, Values, parse_values, seconds

MAXIMUM_SLOWDOWN = 1.10
"""A probe that takes longer than this times the first one has met a throttled device."""

REPEATS = 8
"""The fastest of these counts: other programs only ever make one slower."""

PROBE_SCRIPT = (
    """
if [ -z "${CLOCK:-}" ] && { read -r spent rest < /proc/self/schedstat; } 2>/dev/null && [ "${rest:-0}" != 0 ]; then
  CLOCK=schedstat
fi
"""
    + NOW
    + """
moment() {
  if [ $CLOCK = schedstat ]; then { read -r at rest < /proc/self/schedstat; } 2>/dev/null; else at=$(now); fi
}
work() {
  moment; start=$at
  i=0; while [ $i -lt $1 ]; do i=$((i+1)); done
  moment
  echo "probe=$start $at $repeat"
}
repeat=0
while [ $repeat -lt $3 ]; do
  copy=1
  while [ $copy -lt $2 ]; do work $1 & copy=$((copy+1)); done
  work $1
  wait
  repeat=$((repeat+1))
done
echo "clock=$CLOCK"
"""
)
"""Arguments: steps of the loop, copies, repeats. Prints when each copy began and ended, and in which repeat.

The clock is the time that the copy has spent on a core, where the kernel tells it: a core that is shared with other
programs has not throttled, and what they take hits all artifacts of a round alike. Elsewhere it is the wall's.
"""

_FIRST_STEPS = 1_250
_MOST_ROUGH_STEPS = 5_000_000
_MOST_STEPS = 1 << 30  # mksh calculates in 32 bits.
_ROUGH_S = 0.03
_DURATION_S = 0.1
# /proc/uptime counts in hundredths of a second.
_COARSE = "uptime"
_COARSE_FACTOR = 6.0
_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Probe:
    """The work, sized for one device; ``before_s`` is what it took first."""

    executor: Executor
    cores: tuple[int, ...]
    threads: int
    steps: int = _FIRST_STEPS
    before_s: float = 0.0

    @classmethod
    def calibrated(cls, executor: Executor, cores: tuple[int, ...], threads: int) -> Self | None:
        """Size the work to about 0.1 s and time it; None for a device without a clock that a shell can read."""
        probe, took, factor = cls(executor, cores, threads), 0.0, 1.0
        while took < _ROUGH_S * factor and probe.steps < _MOST_ROUGH_STEPS:
            probe = replace(probe, steps=4 * probe.steps)
            values = probe._run(1)
            found = _fastest(values)
            if found is None:
                return None
            took, factor = found, _COARSE_FACTOR if _COARSE in values.get("clock", ()) else 1.0
        if not took:
            return None
        steps = min(max(1, round(probe.steps * _DURATION_S * factor / took)), _MOST_STEPS)
        probe = replace(probe, steps=steps)
        before = _fastest(probe._run(REPEATS))
        return replace(probe, before_s=before) if before else None

    def slowdown(self) -> float | None:
        """How many times longer the work takes than before; None when the shell gives no time any more.

        One repeat is enough when it is not slow.
        """
        first = _fastest(self._run(1))
        if first is not None and first <= MAXIMUM_SLOWDOWN * self.before_s:
            return first / self.before_s
        others = _fastest(self._run(REPEATS - 1))
        found = [each for each in (first, others) if each is not None]
        return min(found) / self.before_s if found else None

    def _run(self, repeats: int) -> Values:
        arguments = map(str, (self.steps, self.threads, repeats))
        command = pinned(["sh", "-c", PROBE_SCRIPT, "sh", *arguments], self.cores)
        return parse_values(self.executor.run(command, timeout=_TIMEOUT_S).stdout)


def _fastest(values: Values) -> float | None:
    """The time of the fastest repeat, in seconds; of one with several copies the slowest copy counts."""
    repeats: dict[str, float] = {}
    for position, text in enumerate(values.get("probe", ())):
        start, end, *repeat = (text + " ").split(" ")
        moments = seconds(start), seconds(end)
        if moments[0] is not None and moments[1] is not None and moments[1] >= moments[0]:
            key = repeat[0] or f"line {position}"
            repeats[key] = max(repeats.get(key, 0.0), moments[1] - moments[0])
    return min(repeats.values(), default=None)
