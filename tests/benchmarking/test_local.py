"""The executor of this machine, with real programs."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.benchmarking.executors import Executor, open_executor
from edgekit.benchmarking.executors import local as local_module
from edgekit.errors import DeviceError
from edgekit.profiles.device import load_device


@pytest.fixture
def executor() -> Iterator[Executor]:
    with open_executor(load_device("local")) as opened:
        yield opened


def _is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return status != "Z"


def _await_end(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while _is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not _is_running(pid)


def _await_pid(path: Path) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().strip():
            return int(path.read_text())
        time.sleep(0.01)
    raise AssertionError("the program did not start")


def test_a_program_runs_in_the_sessions_folder_and_its_output_is_kept_apart(executor: Executor) -> None:
    found = executor.run(["sh", "-c", "pwd; echo oops >&2; exit 7"], timeout=20)
    assert (found.exit_code, found.stdout.strip(), found.stderr) == (7, executor.folder, "oops\n")


def test_the_folder_goes_with_the_executor() -> None:
    with open_executor(load_device("local")) as executor:
        executor.run(["sh", "-c", "echo x > left-over"], timeout=20)
        folder = Path(executor.folder)
        assert folder.joinpath("left-over").exists()
    assert not folder.exists()


def test_pushing_copies_nothing(executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.joinpath("model.tflite").write_bytes(b"model")
    monkeypatch.chdir(tmp_path)
    assert executor.push(Path("model.tflite")) == str(tmp_path / "model.tflite")
    assert list(Path(executor.folder).iterdir()) == []


def test_pushing_what_is_not_there_is_an_error(executor: Executor) -> None:
    with pytest.raises(DeviceError, match=r"nowhere\.tflite: no such file"):
        executor.push(Path("nowhere.tflite"))


def test_pulling_takes_files_of_the_folder_and_of_anywhere(executor: Executor, tmp_path: Path) -> None:
    executor.run(["sh", "-c", "echo result > 0.bin"], timeout=20)
    executor.pull("0.bin", tmp_path / "a")
    executor.pull(f"{executor.folder}/0.bin", tmp_path / "b")
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "result\n"
    with pytest.raises(DeviceError, match=r"1\.bin: cannot be copied"):
        executor.pull("1.bin", tmp_path / "c")


def test_a_missing_program_is_an_error(executor: Executor) -> None:
    with pytest.raises(DeviceError, match="local: cannot run no-such-program: No such file"):
        executor.run(["no-such-program"], timeout=20)


def test_a_program_for_another_machine_is_an_error(executor: Executor, tmp_path: Path) -> None:
    program = tmp_path / "foreign"
    program.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(100))
    program.chmod(0o755)
    with pytest.raises(DeviceError, match=r"cannot run .*foreign: Exec format error"):
        executor.run([str(program)], timeout=20)


def test_a_hanging_program_is_killed_with_its_children(executor: Executor, tmp_path: Path) -> None:
    script = f"sleep 100 & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(DeviceError, match=r"local: sh did not end within 0\.5 s; it was killed"):
        executor.run(["sh", "-c", script], timeout=0.5)
    assert _await_end(_await_pid(tmp_path / "pid"))


def test_what_a_program_leaves_running_is_ended(executor: Executor, tmp_path: Path) -> None:
    found = executor.run(["sh", "-c", f"sleep 100 & echo $! > {tmp_path}/pid"], timeout=20)
    assert found.exit_code == 0
    assert _await_end(_await_pid(tmp_path / "pid"))


def test_an_interrupt_ends_the_program(executor: Executor, tmp_path: Path) -> None:
    path = tmp_path / "pid"

    def interrupt() -> None:
        _await_pid(path)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        executor.run(["sh", "-c", f"echo $$ > {path}; exec sleep 100"], timeout=60)
    thread.join()
    assert _await_end(_await_pid(path))


def _writing(stdout: int, stderr: int) -> list[str]:
    script = f"import sys; sys.stdout.write('x' * {stdout}); sys.stderr.write('y' * {stderr})"
    return [sys.executable, "-c", script]


def test_much_output_does_not_block_the_program(executor: Executor) -> None:
    found = executor.run(_writing(1_000_000, 1_000_000), timeout=60)
    assert (found.exit_code, found.stdout, found.stderr) == (0, "x" * 1_000_000, "y" * 1_000_000)


@pytest.mark.parametrize(("stdout", "stderr"), [(2_000_000, 0), (0, 2_000_000), (1 << 20, (1 << 20) + 1)])
def test_too_much_output_is_an_error(
    executor: Executor, monkeypatch: pytest.MonkeyPatch, stdout: int, stderr: int
) -> None:
    monkeypatch.setattr(local_module, "MAXIMUM_OUTPUT_BYTES", 1 << 20)
    with pytest.raises(DeviceError, match=r"local: \S+ wrote more than 1 MiB; expected"):
        executor.run(_writing(stdout, stderr), timeout=60)
    assert len(executor.run(_writing(1 << 20, 0), timeout=60).stdout) == 1 << 20


def test_output_that_is_no_text_is_shown_as_well_as_it_can_be(executor: Executor) -> None:
    assert executor.run(["sh", "-c", "printf 'a\\377b'"], timeout=20).stdout == "a�b"


def test_standard_input_is_empty(executor: Executor) -> None:
    assert executor.run(["cat"], timeout=20).stdout == ""


def test_the_facts_are_those_of_this_machine(executor: Executor) -> None:
    facts = executor.facts
    assert (facts.name, facts.kind) == ("local", "local")
    assert len(facts.maximum_mhz) == len(facts.cores) >= 1
    assert facts.abi is not None and facts.os is not None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not pin processes")
def test_only_cores_that_this_process_may_use_are_used() -> None:
    allowed = os.sched_getaffinity(0)
    one = min(allowed)
    os.sched_setaffinity(0, {one})
    try:
        with open_executor(load_device("local")) as executor:
            assert executor.facts.cores == (one,)
    finally:
        os.sched_setaffinity(0, allowed)
