import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.benchmarking.executors import Completed, DeviceFacts
from edgekit.benchmarking.facts import FACTS_SCRIPT, parse_cores, parse_facts, read_facts
from edgekit.benchmarking.shell import Run, parse_values
from edgekit.errors import DeviceError
from tests.benchmarking.test_state import SHELLS

RECORDED = Path(__file__).parent / "recorded" / "facts"


def facts(text: str, kind: str = "ssh") -> DeviceFacts:
    return parse_facts(parse_values(text), "board", kind)


def recorded(name: str, kind: str = "ssh") -> DeviceFacts:
    return facts((RECORDED / f"{name}.txt").read_text(), kind)


def test_a_phone_says_what_android_knows() -> None:
    assert recorded("pixel", "adb") == DeviceFacts(
        name="board",
        kind="adb",
        model="Google Pixel 7",
        soc="Google GS201",
        abi="arm64-v8a",
        os="Android 14 (API 34)",
        fingerprint="google/panther/panther:14/AP1A.240405.002/11480754:user/release-keys",
        cores=tuple(range(8)),
        maximum_mhz=(*[1803.0] * 4, 2348.0, 2348.0, 2850.0, 2850.0),
    )


def test_an_old_phone_names_its_platform_and_the_cores_that_are_online() -> None:
    found = recorded("old_phone", "adb")
    assert (found.model, found.soc, found.abi) == ("Xiaomi M2006C3LG", "mt6765", "armeabi-v7a")
    assert found.cores == (0, 1, 2, 3, 6) and found.maximum_mhz == (None,) * 5


def test_a_board_says_what_its_device_tree_knows() -> None:
    found = recorded("raspberry_pi")
    assert (found.model, found.soc, found.abi) == ("Raspberry Pi 4 Model B Rev 1.5", "brcm,bcm2711", "arm64-v8a")
    assert (found.os, found.cores) == ("Debian GNU/Linux 12 (bookworm)", (0, 1, 2, 3))
    assert found.maximum_mhz == (1800.0,) * 4


@pytest.mark.parametrize(
    ("machine", "elf_class", "abi"),
    [
        ("aarch64", "2", "arm64-v8a"),
        ("aarch64", "1", "armeabi-v7a"),
        ("armv7l", "1", "armeabi-v7a"),
        ("x86_64", "1", "x86"),
        ("x86_64", "", "x86_64"),
        ("i686", "1", "x86"),
        ("riscv64", "2", "riscv64"),
        ("armv6l", "1", "armv6l"),
    ],
)
def test_a_32_bit_userland_runs_32_bit_programs(machine: str, elf_class: str, abi: str) -> None:
    assert facts(f"machine={machine}\nelf_class={elf_class}").abi == abi


def test_what_nobody_filled_in_is_no_model() -> None:
    assert facts("dmi_model=To be filled by O.E.M.").model is None
    assert facts("tree_model=\ndmi_model=XPS 13").model == "XPS 13"


@pytest.mark.parametrize(
    ("online", "allowed", "expected"),
    [
        ("0-3", "2-7", (2, 3)),
        ("0,2", "", (0, 2)),
        ("", "1", (1,)),
        ("0-3", "8-9", (0, 1, 2, 3)),
        ("", "", ()),
    ],
)
def test_cores_are_online_and_allowed(online: str, allowed: str, expected: tuple[int, ...]) -> None:
    assert facts(f"online={online}\nallowed={allowed}").cores == expected


@pytest.mark.parametrize("text", ["", "x", "3-1", "0-99999", "0-9999", "1,,2", "-1", "0x3"])
def test_what_is_no_list_of_cores_has_none(text: str) -> None:
    assert parse_cores(text) == ()


@given(st.sets(st.integers(0, 200), min_size=1))
@settings(deadline=None)
def test_lists_of_cores_are_read(cores: set[int]) -> None:
    assert parse_cores(",".join(map(str, cores))) == tuple(sorted(cores))


def test_hardware_threads_of_one_core_are_told_once() -> None:
    lines = "".join(f"siblings={text}\n" for text in ("0,8", "1,9", "0,8", "1,9", "2", "3", "4-5", "4-5", "", "x"))
    assert facts(lines).siblings == ((0, 8), (1, 9), (4, 5))
    assert recorded("pixel", "adb").siblings == ()


def test_the_script_asks_the_kernel_for_hardware_threads(tmp_path: Path) -> None:
    for core, siblings in enumerate(("0-1", "0-1", "2-3", "2-3")):
        folder = tmp_path / f"cpu{core}" / "topology"
        folder.mkdir(parents=True)
        (folder / ("thread_siblings_list" if core < 2 else "core_cpus_list")).write_text(siblings + "\n")
    script = FACTS_SCRIPT.replace("/sys/devices/system/cpu", str(tmp_path))
    found = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert found.stderr == "" and facts(found.stdout).siblings == ((0, 1), (2, 3))


@pytest.mark.parametrize("core", ["x", "", "9" * 5000, "-1", "²"])
def test_a_frequency_of_what_is_no_core_is_none(core: str) -> None:
    assert facts(f"online=0\nmaximum_khz={core} 1800000").maximum_mhz == (None,)


@given(st.text())
@settings(deadline=None)
def test_garbage_has_no_facts(text: str) -> None:
    found = facts(text)
    assert len(found.cores) == len(found.maximum_mhz)


def _run_here(shell: list[str]) -> Run:
    def run(command: Sequence[str]) -> Completed:
        assert command[0] == "sh"
        found = subprocess.run([*shell, *command[1:]], capture_output=True, text=True, timeout=60, check=False)
        assert found.stderr == ""
        return Completed(found.returncode, found.stdout, found.stderr)

    return run


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_every_shell_tells_the_same(shell: list[str]) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    found = read_facts(_run_here(shell), "here", "local")
    assert found.abi is not None and found.fingerprint is not None
    if hasattr(os, "sched_getaffinity"):
        assert found.cores == tuple(sorted(os.sched_getaffinity(0)))


def test_a_login_shell_that_is_none_is_an_error() -> None:
    with pytest.raises(DeviceError, match=r"board: its sh ended with exit code 1 \(This account is disabled\.\)"):
        read_facts(lambda command: Completed(1, "", "This account is\ndisabled.\n"), "board", "ssh")
