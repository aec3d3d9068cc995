import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.emulation.cpu import CPUS, find_cpu
from edgekit.emulation.emulator import Emulator
from edgekit.errors import DependencyError, UsageError

SCRIPT = "import MNN; print(open('/proc/cpuinfo').read())"


def python(emulator: Emulator, folder: Path, script: str) -> str:
    """What a script prints in the emulated Python: the command of the worker with other code."""
    command = emulator.launch("edgekit.runtimes.worker", folder)
    at = command.index("-c")
    done = subprocess.run([*command[:at], "-c", script], capture_output=True, text=True, timeout=300)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "part", "instructions"),
    [
        ("cortex-a53", "0xd03", "i8sdot:0, fp16:0, i8mm: 0"),
        ("cortex-a76", "0xd0b", "i8sdot:1, fp16:1, i8mm: 0"),
        ("i8mm", "0xd47", "i8sdot:1, fp16:1, i8mm: 1"),
    ],
)
def test_a_cpu_has_the_instructions_that_its_name_says(
    sysroot: Path, tmp_path: Path, name: str, part: str, instructions: str
) -> None:
    with Emulator(find_cpu(name), sysroot) as emulator:
        told = python(emulator, tmp_path, SCRIPT)
    assert instructions in told
    if "0x51" not in told:  # later qemus make a cpuinfo of their own
        assert part in told


def test_nothing_of_the_hosts_python_is_imported(
    sysroot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LD_PRELOAD", "/nowhere/library.so")
    with Emulator(find_cpu("cortex-a53"), sysroot) as emulator:
        told = python(emulator, tmp_path, "import numpy, platform; print(numpy.__file__, platform.machine())")
    assert "dist-packages/numpy" in told and told.split()[-1] == "aarch64"


def test_haswell_runs_this_python(tmp_path: Path) -> None:
    try:
        emulator = Emulator(find_cpu("haswell"), None)
    except DependencyError as error:
        pytest.skip(str(error))
    with emulator:
        command = emulator.launch("edgekit.runtimes.worker", tmp_path)
    assert command[-3:] == ["-P", "-m", "edgekit.runtimes.worker"] and sys.executable in command


def test_a_missing_qemu_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DependencyError, match="apt-get install qemu-user"):
        Emulator(find_cpu("cortex-a53"), tmp_path)


def test_a_qemu_that_does_not_know_the_cpu_is_told(
    sysroot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "qemu-aarch64-static"
    fake.write_text("#!/bin/sh\necho \"qemu-aarch64: unable to find CPU model '$2'\" >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(DependencyError, match=r"unable to find CPU model 'max,sve=off'.*qemu 7.2 or later"):
        Emulator(find_cpu("i8mm"), sysroot).__enter__()


def test_a_qemu_that_hangs_is_told(sysroot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "qemu-aarch64-static"
    fake.write_text("#!/bin/sh\nexec sleep 600\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr("edgekit.emulation.emulator._PROBE_TIMEOUT_S", 0.2)
    with pytest.raises(DependencyError, match=r"did not start in 0.2 s"):
        Emulator(find_cpu("cortex-a53"), sysroot).__enter__()


def test_an_unknown_cpu_names_the_known() -> None:
    with pytest.raises(UsageError, match=", ".join(CPUS)):
        find_cpu("cortex-a7")
