"""What works, against the real adb."""

import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.benchmarking.executors import open_executor
from edgekit.benchmarking.executors.adb import attached
from edgekit.benchmarking.executors.adb.executor import DEFAULT_FOLDER
from edgekit.benchmarking.executors.adb.owner import Owner, this_process
from edgekit.errors import DeviceError, ProfileError
from edgekit.profiles.device import Device
from tests.benchmarking.adb.phone import Phone

Tool = Callable[[str, str], Path]


def test_facts_are_what_the_phone_says(device: Device):
    with open_executor(device) as executor:
        facts = executor.facts
    assert (facts.name, facts.kind) == ("pixel", "adb")
    assert (facts.model, facts.soc, facts.abi) == ("Google Pixel 6", "Google Tensor", "arm64-v8a")
    assert facts.os == "Android 14 (API 34)"
    assert facts.fingerprint is not None and facts.fingerprint.startswith("google/oriole")
    assert set(facts.cores) == os.sched_getaffinity(0)


def test_a_linux_board_has_no_properties(make_phone: Callable[..., Phone]):
    board = make_phone({})
    with open_executor(Device("board", None, "a board with adbd", "adb", serial=board.serial)) as executor:
        facts = executor.facts
    assert facts.abi in ("x86_64", "arm64-v8a")
    assert facts.os is not None and "Android" not in facts.os
    assert not (board.root / "fixed-performance").exists()


def test_run_tells_exit_code_stdout_and_stderr_apart(device: Device):
    with open_executor(device) as executor:
        script = 'printf "no newline"; echo "oh no" >&2; exit 42'
        completed = executor.run(["sh", "-c", script], timeout=20)
        assert (completed.exit_code, completed.stdout, completed.stderr) == (42, "no newline", "oh no\n")
        words = ["a b", "$HOME", "it's", '"', "new\nline", "*", ";exit 3"]
        completed = executor.run(["printf", "%s|", *words], timeout=20)
        assert (completed.exit_code, completed.stdout) == (0, "|".join([*words, ""]))
        assert executor.run(["sh", "-c", "cat"], timeout=20).stdout == ""  # no input to wait for


def test_run_starts_in_the_session_folder(device: Device, phone: Phone, tmp_path: Path):
    with open_executor(device) as executor:
        assert executor.run(["sh", "-c", "echo 1 > made"], timeout=20).exit_code == 0
        assert phone.real(f"{executor.folder}/made").read_text() == "1\n"
        executor.pull("made", tmp_path / "made")
        executor.pull(f"{executor.folder}/made", tmp_path / "again")
    assert (tmp_path / "made").read_text() == (tmp_path / "again").read_text() == "1\n"


def test_files_go_but_kept_ones_stay(device: Device, phone: Phone, tool: Tool):
    with open_executor(device) as executor:
        kept = executor.push(tool("program", "echo hello"), executable=True, keep=True)
        sent = executor.push(tool("model", "weights"))
        assert executor.run([kept], timeout=20).stdout == "hello\n"
        assert phone.real(sent).is_file()
    files = [path for path in phone.files.rglob("*") if path.is_file()]
    assert files == [phone.real(kept)]
    assert os.access(files[0], os.X_OK)


def test_a_file_is_sent_once(device: Device, phone: Phone, tool: Tool):
    program = tool("program", "echo hello")
    with open_executor(device) as executor:
        path = phone.real(executor.push(program, executable=True, keep=True))
        sent = path.stat().st_ino
    with open_executor(device) as executor:
        assert phone.real(executor.push(program, executable=True, keep=True)) == path
        assert phone.real(executor.push(program)) == path  # nobody asked to keep it, but it is there
        assert path.stat().st_ino == sent


def test_same_size_and_another_content_is_sent_again(device: Device, phone: Phone, tmp_path: Path):
    """A re-export of an int8 model has the size of the one before."""
    model = tmp_path / "model.tflite"
    for content in (b"scale=1.000", b"scale=2.000"):
        model.write_bytes(content)
        with open_executor(device) as executor:
            path = executor.push(model, keep=True)
            assert executor.run(["cat", path], timeout=20).stdout.encode() == content


def test_a_file_that_was_tampered_with_on_the_phone_is_sent_again(device: Device, phone: Phone, tool: Tool):
    program = tool("program", "echo hello")
    with open_executor(device) as executor:
        path = executor.push(program, executable=True, keep=True)
        phone.real(path).write_text("#!/bin/sh\necho HELLO\n")
        assert executor.run([executor.push(program, executable=True, keep=True)], timeout=20).stdout == "hello\n"


def test_what_was_data_becomes_a_program(device: Device, tool: Tool):
    with open_executor(device) as executor:
        executor.push(tool("program", "echo hello"), keep=True)
        path = executor.push(tool("program", "echo hello"), executable=True, keep=True)
        assert executor.run([path], timeout=20).stdout == "hello\n"


def test_a_folder_is_sent_with_all_below_it(device: Device, phone: Phone, tmp_path: Path):
    folder = tmp_path / "bundle"
    for name in ("run.py", "lib/one two.txt", "lib/deep/$three.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    with open_executor(device) as executor:
        path = executor.push(folder)
        completed = executor.run(["cat", f"{path}/run.py", f"{path}/lib/one two.txt"], timeout=20)
        assert completed.stdout == "run.pylib/one two.txt"
        assert phone.real(f"{path}/lib/deep/$three.txt").read_text() == "lib/deep/$three.txt"
        assert executor.push(folder) == path


def test_without_sha256sum_every_file_is_sent_and_checked_by_its_size(device: Device, phone: Phone, tool: Tool):
    phone.command("sha256sum", "#!/bin/sh\nexit 127\n")
    program = tool("program", "echo hello")
    with open_executor(device) as executor:
        first = phone.real(executor.push(program, executable=True, keep=True)).stat().st_ino
        again = phone.real(executor.push(program, executable=True, keep=True)).stat().st_ino
    assert again != first


def test_fixed_performance_mode_is_on_while_measuring(device: Device, phone: Phone):
    with open_executor(device):
        assert (phone.root / "fixed-performance").read_text().split() == ["true"]
    assert (phone.root / "fixed-performance").read_text().split() == ["true", "false"]


def test_a_phone_without_the_mode_is_measured_without_it(device: Device, phone: Phone):
    (phone.root / "power-refuses").touch()
    with open_executor(device) as executor:
        assert executor.run(["true"], timeout=20).exit_code == 0
    assert not (phone.root / "fixed-performance").exists()


def test_whether_the_mode_is_on_is_a_fact(device: Device, phone: Phone, make_phone: Callable[..., Phone]):
    with open_executor(device) as executor:
        assert executor.facts.fixed_performance is True
    (phone.root / "power-refuses").touch()
    with open_executor(device) as executor:
        assert executor.facts.fixed_performance is False
    with open_executor(replace(device, serial=make_phone({}).serial)) as executor:
        assert executor.facts.fixed_performance is None


def _process() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["sleep", "600"])


def test_what_dead_sessions_left_is_removed(device: Device, phone: Phone):
    with _process() as living:
        alive = phone.files / f"session-{this_process()}-1234abcd"
        strangers, old = (alive.with_name(f"session-01234567-{number}-5-abcd") for number in (1, 2))
        dead = alive.with_name(f"session-{replace(this_process(), pid=999999999)}-1234abcd")
        # The number of a dead process has been given to another one.
        reused = alive.with_name(f"session-{Owner(this_process().machine, living.pid, 1)}-1234abcd")
        container = alive.with_name(f"session-{Owner('89abcdef', 999999999, 1)}-1234abcd")
        for folder in (alive, dead, reused, container, strangers, old):
            folder.mkdir(parents=True)
        os.utime(old, (0, 0))
        with open_executor(device) as executor:
            left = {path.name for path in alive.parent.glob("session-*")}
            assert left == {alive.name, strangers.name, container.name, Path(executor.folder).name}
        living.kill()


def test_two_benchmarks_do_not_share_a_phone(device: Device, phone: Phone):
    name = re.escape(platform.node())
    with open_executor(device) as executor:
        with pytest.raises(
            DeviceError, match=rf"is in use by {name} pid {os.getpid()} since 20\d\d-.*wait for it"
        ) as raised:
            open_executor(device).__enter__()
        assert raised.value.exit_code == 6
        assert executor.run(["true"], timeout=20).exit_code == 0
        assert [path.name for path in phone.files.glob("session-*")] == [Path(executor.folder).name]
    assert not (phone.files / "lock").exists()
    assert (phone.root / "fixed-performance").read_text().split() == ["true", "false"], "by the one that has it"
    with open_executor(device) as executor:
        assert executor.run(["true"], timeout=20).exit_code == 0


@pytest.mark.parametrize("age_s", [0, 4 * 3600])
def test_a_lock_is_taken_over_when_its_owner_is_gone(device: Device, phone: Phone, age_s: int):
    lock = phone.files / "lock"
    for owner, free in (
        (replace(this_process(), pid=999999999), True),
        (replace(this_process(), started=1), True),
        (this_process(), age_s > 0),
        (Owner("01234567", 7, 7), age_s > 0),
    ):
        shutil.rmtree(lock, ignore_errors=True)
        lock.mkdir(parents=True)
        (lock / "owner").write_text(f"{owner} 89ab other-host 2026-11-22T03:04:05+0000\n")
        os.utime(lock, (time.time() - age_s,) * 2)
        if free:
            with open_executor(device) as executor:
                assert executor.run(["true"], timeout=20).exit_code == 0
        else:
            words = rf"is in use by other-host pid {owner.pid} since 2026-11-22T03:04:05.*rm -r {DEFAULT_FOLDER}/lock`"
            with pytest.raises(DeviceError, match=words):
                open_executor(device).__enter__()
        assert lock.exists() is not free


def test_a_benchmark_that_runs_keeps_its_lock_fresh(device: Device, phone: Phone):
    lock = phone.files / "lock"
    with open_executor(device) as executor:
        os.utime(lock, (0, 0))
        executor.run(["true"], timeout=20)
        assert lock.stat().st_mtime > 0


def test_a_network_device_is_connected_and_let_go_again(device: Device, phone: Phone):
    assert attached() == []
    with open_executor(device):
        assert [(each.serial, each.state, each.advice) for each in attached()] == [(phone.serial, "device", "")]
    assert attached() == []


def test_a_profile_may_go_by_the_model(device: Device, phone: Phone):
    by_model = replace(device, serial=None, model="Pixel *")
    with pytest.raises(DeviceError, match='no attached device fits model = "Pixel'), open_executor(by_model):
        pass
    subprocess.run(["adb", "connect", phone.serial], check=True, stdout=-3)
    with open_executor(by_model) as executor:
        assert executor.facts.model == "Google Pixel 6"


def test_attached_devices_say_what_they_are(device: Device, phone: Phone):
    with open_executor(device):
        (found,) = attached()
    assert (found.model, found.soc, found.abi, found.os) == (
        "Google Pixel 6",
        "Google Tensor",
        "arm64-v8a",
        "Android 14 (API 34)",
    )


def test_another_abi_of_the_same_phone(device: Device):
    with open_executor(replace(device, abi="armeabi-v7a")) as executor:
        assert executor.facts.abi == "armeabi-v7a"


def test_the_profile_must_have_the_phones_abi(device: Device, phone: Phone):
    with (
        pytest.raises(DeviceError, match="its profile says x86_64, but the device runs arm64-v8a, armeabi-v7a"),
        open_executor(replace(device, abi="x86_64")),
    ):
        pass
    assert not (phone.root / "fixed-performance").exists()


def test_a_program_of_another_processor_is_refused_before_it_is_sent(device: Device, phone: Phone, sh: str):
    if os.uname().machine == "aarch64":
        pytest.skip("this machine's programs are the phone's")
    with (
        open_executor(device) as executor,
        pytest.raises(DeviceError, match=r"sh: built for x86_64, but adb:\S+ runs arm64-v8a"),
    ):
        executor.push(Path(sh), executable=True)
    assert [path for path in phone.files.rglob("*") if path.is_file()] == []


def test_the_folder_must_be_absolute(device: Device):
    with pytest.raises(ProfileError, match="expected an absolute path"), open_executor(replace(device, folder="tmp")):
        pass


def test_the_folder_is_the_profiles(device: Device, phone: Phone, tool: Tool):
    folder = "/data/local/tmp/my folder"
    with open_executor(replace(device, folder=folder)) as executor:
        path = executor.push(tool("program", "echo hello"), executable=True)
        assert path.startswith(f"{folder}/session-")
        assert executor.run([path], timeout=20).stdout == "hello\n"
    assert list(phone.real(folder).glob("session-*")) == []


def test_a_taskset_in_front_is_no_obstacle(device: Device, tool: Tool):
    if shutil.which("taskset") is None:
        pytest.skip("this machine has no taskset")
    with open_executor(device) as executor:
        path = executor.push(tool("program", "echo hello"), executable=True)
        assert executor.run(["taskset", "1", path], timeout=20).stdout == "hello\n"
