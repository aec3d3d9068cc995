"""Every way in which a phone fails, provoked: a DeviceError that says what to do, and nothing left behind."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.benchmarking.executors import Executor, open_executor
from edgekit.benchmarking.executors.adb import attached, connection
from edgekit.errors import DeviceError
from edgekit.profiles.device import Device
from tests.benchmarking.adb.phone import Phone

Tool = Callable[[str, str], Path]


def left_over(phone: Phone) -> list[str]:
    return [str(path) for path in phone.files.rglob("*") if path.is_file() or path.name.startswith("session-")]


def settings(phone: Phone) -> list[str]:
    return (phone.root / "fixed-performance").read_text().split()


def fail(device: Device, act: Callable[[Executor], object], match: str) -> None:
    with pytest.raises(DeviceError, match=match) as raised, open_executor(device) as executor:
        act(executor)
    assert raised.value.exit_code == 6
    assert "\n" not in str(raised.value)


def test_unauthorized(device: Device, phone: Phone):
    phone.auth = "reject"
    fail(device, lambda executor: None, r'is unauthorized: unlock the device and answer "Allow USB debugging\?"')
    (found,) = attached()
    assert (found.serial, found.state) == (phone.serial, "unauthorized")
    assert "Allow USB debugging" in found.advice


def test_authorized_by_its_user(device: Device, phone: Phone):
    phone.auth = "accept"
    with open_executor(device) as executor:
        assert executor.run(["true"], timeout=20).exit_code == 0


@pytest.mark.slow  # adb itself waits for 10 s
def test_offline(device: Device, phone: Phone, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "_CONNECT_S", 1.0)
    phone.silent = True
    fail(device, lambda executor: None, r"is offline: unplug it and plug it in again")
    assert [(each.state, bool(each.advice)) for each in attached()] == [("offline", True)]


def test_nobody_listens(device: Device, phone: Phone):
    phone.unplug()
    fail(device, lambda executor: None, r"refused.*wireless debugging")


def test_not_attached(device: Device):
    fail(replace(device, serial="R58M12ABCDE"), lambda executor: None, r"adb:R58M12ABCDE is missing: plug it in")


def test_unplugged_between_two_commands(device: Device, phone: Phone):
    def act(executor: Executor) -> None:
        phone.unplug()
        executor.run(["true"], timeout=20)

    fail(device, act, rf"adb:{phone.serial} is (gone|offline): .*; fixed-performance mode is still on there: restart")


def test_unplugged_while_a_command_runs(device: Device, phone: Phone):
    def act(executor: Executor) -> None:
        threading.Timer(0.3, phone.unplug).start()
        executor.run(["sleep", "60"], timeout=50)

    # Not the error of a program that is not done in time.
    fail(device, act, rf"adb:{phone.serial} is (gone|offline)")


def test_unplugged_while_a_file_is_sent(device: Device, phone: Phone, tmp_path: Path):
    def act(executor: Executor) -> None:
        threading.Timer(0.05, phone.unplug).start()
        while True:
            (tmp_path / "large").write_bytes(os.urandom(1 << 22))
            executor.push(tmp_path / "large")

    fail(device, act, rf"adb:{phone.serial}")


def test_a_program_that_hangs_is_stopped_on_the_phone(device: Device, phone: Phone, tool: Tool):
    def act(executor: Executor) -> None:
        path = executor.push(tool("hanging", "sleep 600 & sleep 600"), executable=True)
        executor.run([path], timeout=0.5)

    fail(device, act, "hanging was not done after 0.5 s and was stopped")
    deadline = time.monotonic() + 10
    while phone.programs() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert phone.programs() == []
    assert left_over(phone) == []
    assert settings(phone) == ["true", "false"]


def test_the_session_goes_on_after_a_time_out(device: Device):
    with open_executor(device) as executor:
        with pytest.raises(DeviceError):
            executor.run(["sleep", "600"], timeout=0.3)
        assert executor.run(["echo", "alive"], timeout=20).stdout == "alive\n"


def test_a_full_disk_is_told_with_its_room(device: Device, phone: Phone, tmp_path: Path):
    def act(executor: Executor) -> None:
        phone.room = 1000
        (phone.root / "free-kilobytes").write_text("1")
        (tmp_path / "model").write_bytes(bytes(2_500_000))
        executor.push(tmp_path / "model")

    fail(device, act, r"is full: model needs 2.5 MB, 0.0 MB are free; make room in /data/local/tmp")
    assert left_over(phone) == []
    assert settings(phone) == ["true", "false"]


def test_a_truncated_file_is_noticed(device: Device, phone: Phone, tmp_path: Path):
    def act(executor: Executor) -> None:
        phone.room, phone.truncates = 1000, True
        (tmp_path / "model").write_bytes(bytes(2000))
        executor.push(tmp_path / "model", keep=True)

    fail(device, act, "model arrived damaged; check the cable")
    assert left_over(phone) == []


def test_a_truncated_file_on_a_full_disk(device: Device, phone: Phone, tmp_path: Path):
    def act(executor: Executor) -> None:
        phone.room, phone.truncates = 1000, True
        (phone.root / "free-kilobytes").write_text("0")
        (tmp_path / "model").write_bytes(bytes(2000))
        executor.push(tmp_path / "model")

    fail(device, act, "is full: model needs")


def test_permission_denied(device: Device, phone: Phone, tool: Tool):
    def act(executor: Executor) -> None:
        phone.refuses_writes = True
        executor.push(tool("program", "true"))

    fail(device, act, r'may not write program to .*Permission denied.*set "folder" in the device profile')
    assert left_over(phone) == []
    assert settings(phone) == ["true", "false"]


def test_a_folder_that_cannot_be_made(device: Device, phone: Phone):
    phone.real("/data/local/tmp/taken").write_text("a file")
    fail(
        replace(device, folder="/data/local/tmp/taken/edgekit"),
        lambda executor: None,
        r'/data/local/tmp/taken/edgekit cannot be written; make room there, or set "folder"',
    )
    assert not (phone.root / "fixed-performance").exists()


def test_a_folder_that_runs_no_programs(device: Device, phone: Phone, tool: Tool):
    """Like the SD card: chmod says yes and does nothing."""
    phone.command("chmod", "#!/bin/sh\nexit 0\n")
    fail(device, lambda executor: executor.push(tool("program", "true"), executable=True), r"noexec.*set \"folder\"")
    assert left_over(phone) == []


def test_a_program_that_may_not_be_started(device: Device, tool: Tool):
    def act(executor: Executor) -> None:
        executor.run([executor.push(tool("program", "true"))], timeout=20)

    fail(device, act, r"program cannot be started \(.*Permission denied.*noexec")


@pytest.mark.parametrize("before", [[], ["env", "A=1"]])  # env has such a file run by sh
def test_a_program_of_another_processor_that_is_there_already(device: Device, phone: Phone, before: list[str]):
    program = phone.real("/data/local/tmp/foreign")
    program.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xf3\x00" + bytes(44))
    program.chmod(0o755)
    fail(
        device,
        lambda executor: executor.run([*before, "/data/local/tmp/foreign"], timeout=20),
        r"foreign cannot be started \(.*\): it is built for riscv64, but adb:\S+ runs arm64-v8a",
    )


def test_a_program_without_its_loader(device: Device, phone: Phone, tool: Tool):
    """As one that was built for glibc has on Android."""
    program = tool("program", "")
    program.write_text("#!/lib/ld-of-another-system.so\n")
    fail(
        device,
        lambda executor: executor.run([executor.push(program, executable=True)], timeout=20),
        r"program cannot be started \(.*\): its loader is not there, so it is built for another system than Android 14",
    )


def test_a_missing_output_file(device: Device, tmp_path: Path):
    fail(device, lambda executor: executor.pull("out.bin", tmp_path / "out.bin"), "out.bin: no such file")
    assert not (tmp_path / "out.bin").exists()


def test_a_phone_that_does_not_answer(device: Device, phone: Phone, monkeypatch: pytest.MonkeyPatch):
    phone.command("mkdir", "#!/bin/sh\nsleep 600\n")
    monkeypatch.setattr(connection, "QUICK_S", 1.5)
    fail(device, lambda executor: None, r"has not answered for 1.5 s; check the cable")
    assert not (phone.root / "fixed-performance").exists()
    phone.command("mkdir", f'#!/bin/sh\nexec {shutil.which("mkdir")} "$@"\n')
    phone.command("touch", "#!/bin/sh\nsleep 600\n")
    monkeypatch.setattr(connection, "QUICK_S", 30.0)
    fail(device, lambda executor: executor.run(["true"], timeout=1.5), "true was not done after 1.5 s")
    assert settings(phone) == ["true", "false"]


def test_an_empty_folder(device: Device, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    fail(device, lambda executor: executor.push(tmp_path / "empty"), "is an empty folder")


def test_a_file_that_cannot_be_read_here(device: Device, tmp_path: Path):
    fail(device, lambda executor: executor.push(tmp_path / "missing"), "missing: cannot be read: No such file")


def test_an_exit_code_is_no_failure_of_the_phone(device: Device):
    """Not even when the program's words look like adb's."""
    with open_executor(device) as executor:
        completed = executor.run(["sh", "-c", "echo 'error: device offline' >&2; exit 1"], timeout=20)
        assert (completed.exit_code, completed.stderr) == (1, "error: device offline\n")
        assert executor.run(["no-such-program"], timeout=20).exit_code == 127


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, DeviceError])
def test_everything_is_restored_whatever_is_raised(
    device: Device, phone: Phone, tool: Tool, error: type[BaseException]
):
    with pytest.raises(error), open_executor(device) as executor:
        executor.push(tool("program", "true"))
        raise error
    assert left_over(phone) == []
    assert settings(phone) == ["true", "false"]


def test_a_process_that_has_the_number_of_a_dead_one_is_left_alone(device: Device, phone: Phone):
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        with open_executor(device) as executor:
            phone.real(f"{executor.folder}/.pid").write_text(f"{stranger.pid}\n")
        assert stranger.poll() is None
        stranger.kill()


def test_an_interrupt_while_a_program_runs_stops_it(device: Device, phone: Phone):
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), open_executor(device) as executor:
        threading.Timer(0.4, interrupt).start()
        executor.run(["sleep", "600"], timeout=500)
    deadline = time.monotonic() + 10
    while phone.programs() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert phone.programs() == []
    assert left_over(phone) == []
    assert settings(phone) == ["true", "false"]


def test_a_mode_that_cannot_be_switched_off_is_told(device: Device, phone: Phone, caplog: pytest.LogCaptureFixture):
    left_on = rf"fixed-performance mode is still on there: restart adb:{phone.serial}, or type `adb -s .* false`"

    def refuse(executor: Executor) -> None:
        (phone.root / "power-refuses").touch()

    fail(device, refuse, left_on)
    (phone.root / "power-refuses").unlink()
    with pytest.raises(KeyboardInterrupt), open_executor(device) as executor:
        refuse(executor)
        raise KeyboardInterrupt
    assert "fixed-performance mode is still on" in caplog.text


def test_garbage_instead_of_facts(device: Device, phone: Phone):
    phone.command("sh", "#!/bin/bash\necho '\377 garbage'; exit 3\n")
    fail(device, lambda executor: None, r"exit code 3 \(.*garbage\)")
