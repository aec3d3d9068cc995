"""On which cores artifacts are measured, and the command prefix that keeps a program there."""

from collections import Counter
from collections.abc import Sequence

from edgekit.benchmarking.executors import DeviceFacts, Executor
from edgekit.errors import ProfileError
from edgekit.profiles.device import Device

_TIMEOUT_S = 20.0


def choose_cores(executor: Executor, device: Device, threads: int) -> tuple[int, ...]:
    """The profile's cores, else the ``threads`` fastest; none where the device cannot pin programs.

    Raises ProfileError when the profile names cores that are not there.
    """
    facts = executor.facts
    absent = sorted(set(device.cores) - set(facts.cores)) if facts.cores else []
    if absent:
        raise ProfileError(
            f'{device.path or device.name}: "cores" has {absent[0]}; {facts.name} lets programs run on '
            f"{_listed(facts.cores)} only: correct the profile"
        )
    cores = device.cores or fastest_cores(facts, threads)
    return cores if cores and _can_pin(executor, cores) else ()


def fastest_cores(facts: DeviceFacts, threads: int) -> tuple[int, ...]:
    """The cores with the highest maximum frequencies, ascending; of equals, the highest numbers.

    The hardware threads of one physical core share its arithmetic units: a second one of any core comes after the first
    ones of all.
    """
    maximum = facts.maximum_mhz or (None,) * len(facts.cores)
    ranked = sorted(zip(facts.cores, maximum, strict=True), key=lambda core: (core[1] or 0.0, core[0]), reverse=True)
    physical = {core: group[0] for group in facts.siblings for core in group}
    taken: Counter[int] = Counter()
    turns = []
    for core, _ in ranked:
        own = physical.get(core, core)
        turns.append((taken[own], core))
        taken[own] += 1
    turns.sort(key=lambda turn: turn[0])  # stable: among equals the faster ones stay first
    return tuple(sorted(core for _, core in turns[:threads]))


def pinned(command: Sequence[str], cores: Sequence[int]) -> list[str]:
    """``command`` on ``cores`` only; as it is when there are none."""
    # A bare hexadecimal mask is what toybox, busybox and util-linux all understand.
    return ["taskset", f"{sum(1 << core for core in set(cores)):x}", *command] if cores else list(command)


def _can_pin(executor: Executor, cores: Sequence[int]) -> bool:
    return executor.run(["sh", "-c", _TRY, "sh", *pinned(["true"], cores)], timeout=_TIMEOUT_S).exit_code == 0


# In a shell: a program that is missing is then an exit code on every kind of device.
_TRY = '"$@" >/dev/null 2>&1'


def _listed(cores: Sequence[int]) -> str:
    return ", ".join(map(str, cores))
