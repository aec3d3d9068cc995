import shutil
from dataclasses import replace

import pytest

from edgekit.benchmarking.cores import choose_cores, fastest_cores, pinned
from edgekit.benchmarking.executors import DeviceFacts, open_executor
from edgekit.errors import ProfileError
from edgekit.profiles.device import load_device

BIG_LITTLE = DeviceFacts(
    "phone", "adb", cores=tuple(range(8)), maximum_mhz=(1800.0,) * 4 + (2300.0,) * 2 + (2850.0, None)
)


@pytest.mark.parametrize(
    ("threads", "expected"), [(1, (6,)), (2, (5, 6)), (3, (4, 5, 6)), (4, (3, 4, 5, 6)), (99, tuple(range(8)))]
)
def test_the_fastest_cores_are_chosen(threads: int, expected: tuple[int, ...]) -> None:
    assert fastest_cores(BIG_LITTLE, threads) == expected


def test_of_equal_cores_the_last_ones_are_chosen() -> None:
    unknown = DeviceFacts("vm", "local", cores=(0, 2, 5), maximum_mhz=(None, None, None))
    assert fastest_cores(unknown, 2) == (2, 5)


# Six fast cores with two hardware threads each, then four slow ones with one.
HYBRID = DeviceFacts(
    "laptop",
    "local",
    cores=tuple(range(16)),
    maximum_mhz=(4700.0,) * 12 + (3500.0,) * 4,
    siblings=tuple((core, core + 1) for core in range(0, 12, 2)),
)
ADJACENT = DeviceFacts("vm", "local", cores=(0, 1, 2, 3), maximum_mhz=(None,) * 4, siblings=((0, 1), (2, 3)))
FAR = DeviceFacts(
    "server", "local", cores=tuple(range(8)), maximum_mhz=(3000.0,) * 8, siblings=((0, 4), (1, 5), (2, 6), (3, 7))
)


@pytest.mark.parametrize(
    ("facts", "threads", "expected"),
    [
        (HYBRID, 2, (9, 11)),
        (HYBRID, 6, (1, 3, 5, 7, 9, 11)),
        (HYBRID, 8, (1, 3, 5, 7, 9, 11, 14, 15)),
        (HYBRID, 12, (1, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15)),
        (HYBRID, 16, tuple(range(16))),
        (ADJACENT, 1, (3,)),
        (ADJACENT, 2, (1, 3)),
        (ADJACENT, 3, (1, 2, 3)),
        (FAR, 4, (4, 5, 6, 7)),
        (FAR, 5, (3, 4, 5, 6, 7)),
        (replace(ADJACENT, cores=(0, 2, 3), maximum_mhz=(None,) * 3), 2, (0, 3)),
        (BIG_LITTLE, 4, (3, 4, 5, 6)),
    ],
)
def test_every_physical_core_comes_before_a_second_hardware_thread(
    facts: DeviceFacts, threads: int, expected: tuple[int, ...]
) -> None:
    assert fastest_cores(facts, threads) == expected


@pytest.mark.parametrize(("cores", "mask"), [((4, 5, 6, 7), "f0"), ((0,), "1"), ((35,), "800000000"), ((1, 1), "2")])
def test_commands_are_pinned_by_a_hexadecimal_mask(cores: tuple[int, ...], mask: str) -> None:
    assert pinned(["program", "-x"], cores) == ["taskset", mask, "program", "-x"]


def test_without_cores_a_command_stays_as_it_is() -> None:
    assert pinned(("program",), ()) == ["program"]


def test_a_pinned_program_runs_on_these_cores_only() -> None:
    if shutil.which("taskset") is None:
        pytest.skip("taskset is not installed")
    device = load_device("local")
    with open_executor(device) as executor:
        cores = choose_cores(executor, device, 1)
        assert cores == executor.facts.cores[-1:] or executor.facts.maximum_mhz[0] is not None
        found = executor.run(pinned(["grep", "Cpus_allowed_list", "/proc/self/status"], cores), timeout=20)
    assert found.stdout.split() == ["Cpus_allowed_list:", str(cores[0])]


def test_without_taskset_nothing_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    device = load_device("local")
    with open_executor(device) as executor:
        monkeypatch.setattr("edgekit.benchmarking.cores.pinned", lambda command, cores: ["no-such-taskset", *command])
        assert choose_cores(executor, device, 1) == ()


def test_cores_of_a_profile_must_be_there() -> None:
    device = replace(load_device("local"), cores=(0, 900))
    with open_executor(device) as executor, pytest.raises(ProfileError, match='"cores" has 900; local lets programs'):
        choose_cores(executor, device, 1)
