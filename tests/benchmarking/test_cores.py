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
