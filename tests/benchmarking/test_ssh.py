"""Boards over ssh, against a real sshd on loopback."""

import hashlib
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.benchmarking.executors import Executor, open_executor
from edgekit.benchmarking.executors.ssh import open_executor as open_ssh
from edgekit.errors import DependencyError, DeviceError, InputError, ProfileError
from edgekit.profiles.device import Device, load_device
from tests.benchmarking.sshd import Server

BOARD = Device("bench", None, "a board", "ssh", host="board")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """One that a test may break."""
    (tmp_path / "sshd").mkdir()
    server = Server(tmp_path / "sshd")
    server.start()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _configuration(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "own_server" if "own_server" in request.fixturenames else "server"
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(request.getfixturevalue(name).config))


@pytest.fixture(scope="module")
def board(server: Server) -> Iterator[Executor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKIT_SSH_CONFIG", str(server.config))
        with open_executor(replace(BOARD, folder=f"{server.home}/board")) as executor:
            yield executor


def error_of(device: Device = BOARD, connect_s: float = 5.0) -> str:
    with pytest.raises(DeviceError) as caught, open_ssh(device, connect_s):
        pass
    message = str(caught.value)
    assert "\n" not in message and message.startswith(device.name)
    return message


def running(marker: str) -> list[str]:
    """The command lines on this machine, which is the board, that have this word."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().split(b"\0")
        except OSError:
            continue
        if marker.encode() in words:
            found.append(b" ".join(words).decode())
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def left_behind(server: Server) -> list[str]:
    return [path.name for path in (server.home / "cache/edgekit").glob("session.*")]


def test_facts_are_of_the_board(board: Executor) -> None:
    machine = os.uname().machine
    assert board.facts.kind == "ssh" and board.facts.name == "bench"
    assert board.facts.abi == {"x86_64": "x86_64", "aarch64": "arm64-v8a"}.get(machine, machine)
    assert set(board.facts.cores) <= set(os.sched_getaffinity(0))


def test_a_program_runs_in_the_folder_of_the_session(board: Executor) -> None:
    result = board.run(["sh", "-c", "pwd; echo words >&2; exit 3"], timeout=20)
    assert (result.exit_code, result.stdout, result.stderr) == (3, board.folder + "\n", "words\n")


@pytest.mark.parametrize(("script", "code"), [("exit 255", 255), ("kill -9 $$", 137), ("kill -SEGV $$", 139)])
def test_exit_codes_are_the_programs_own(board: Executor, script: str, code: int) -> None:
    assert board.run(["sh", "-c", script], timeout=20).exit_code == code


def test_a_missing_program_is_a_failing_one(board: Executor) -> None:
    result = board.run(["no-such-program"], timeout=20)
    assert result.exit_code == 127 and "no-such-program" in result.stderr


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1))
def test_arguments_arrive_as_they_are(board: Executor, words: list[str]) -> None:
    result = board.run(["printf", "%s\\0", *words], timeout=20)
    assert result.stdout.split("\0")[:-1] == words


def test_a_program_gets_no_input(board: Executor) -> None:
    assert board.run(["cat"], timeout=20).stdout == ""


def test_output_of_any_length_and_kind_arrives(board: Executor) -> None:
    result = board.run(["sh", "-c", "head -c 3000000 /dev/zero; echo; printf '\\377' >&2"], timeout=30)
    assert result.stdout == "\0" * 3_000_000 + "\n"
    assert result.stderr == "\ufffd"


def test_endless_output_is_stopped(board: Executor) -> None:
    with pytest.raises(DeviceError, match="wrote more than 64 MiB"):
        board.run(["yes", "endless-4711"], timeout=60)
    wait_until(lambda: not running("endless-4711"))


def test_a_timeout_kills_the_program_and_its_children_on_the_board(board: Executor) -> None:
    with pytest.raises(DeviceError, match=r"bench \(board\): sh did not end within 0.5 s; it was killed"):
        board.run(["sh", "-c", "sleep 4712 & sleep 4712"], timeout=0.5)
    wait_until(lambda: not running("4712"))
    assert board.run(["echo", "alive"], timeout=20).stdout == "alive\n"


def test_what_a_program_leaves_running_ends_with_it(board: Executor) -> None:
    assert board.run(["sh", "-c", "sleep 4713 & echo done"], timeout=20).stdout == "done\n"
    wait_until(lambda: not running("4713"))


def test_a_daemon_that_leaves_its_group_does_not_hold_the_result(board: Executor) -> None:
    started = time.monotonic()
    assert board.run(["sh", "-c", "setsid sleep 8 & sleep 0.2; echo done"], timeout=20).stdout == "done\n"
    assert time.monotonic() - started < 7


def test_a_file_is_sent_once(board: Executor, tmp_path: Path) -> None:
    path = tmp_path / 'it\'s a "model".tflite'
    path.write_bytes(os.urandom(300_000))
    remote = Path(board.push(path))
    assert remote.read_bytes() == path.read_bytes() and remote.name == path.name
    assert remote.parent.name == hashlib.sha256(path.read_bytes()).hexdigest()
    before = remote.stat()
    assert board.push(path) == str(remote)
    assert remote.stat().st_ino == before.st_ino


def test_other_content_of_the_same_size_is_sent_again(board: Executor, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"a" * 1000)
    first = board.push(path)
    path.write_bytes(b"b" * 1000)
    assert Path(board.push(path)).read_bytes() == b"b" * 1000
    assert Path(first).read_bytes() == b"a" * 1000


def test_a_damaged_file_on_the_board_is_replaced(board: Executor, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"c" * 1000)
    remote = Path(board.push(path))
    remote.write_bytes(b"d" * 1000)
    assert board.push(path) == str(remote)
    assert remote.read_bytes() == b"c" * 1000


def test_a_program_is_executable_also_when_it_was_sent_as_data(board: Executor, tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\necho it runs\n")
    assert not os.access(board.push(program), os.X_OK)
    assert board.run([board.push(program, executable=True)], timeout=20).stdout == "it runs\n"


def test_a_folder_is_sent_with_its_links_followed(board: Executor, tmp_path: Path) -> None:
    folder = tmp_path / "libraries"
    (folder / "deep").mkdir(parents=True)
    (folder / "lib.so.1").write_bytes(b"library")
    (folder / "lib.so").symlink_to("lib.so.1")
    (folder / "deep" / "run.sh").write_text("#!/bin/sh\necho deep\n")
    (folder / "deep" / "run.sh").chmod(0o755)
    remote = Path(board.push(folder))
    assert remote.name == "libraries"
    assert sorted(path.relative_to(remote).as_posix() for path in remote.rglob("*") if path.is_file()) == [
        "deep/run.sh",
        "lib.so",
        "lib.so.1",
    ]
    assert (remote / "lib.so").read_bytes() == b"library"
    assert board.run([f"{remote}/deep/run.sh"], timeout=20).stdout == "deep\n"
    (remote / "lib.so.1").unlink()
    assert board.push(folder) == str(remote)
    assert (remote / "lib.so.1").read_bytes() == b"library"


def test_what_cannot_be_sent_is_named(board: Executor, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.tflite: cannot be read: No such file"):
        board.push(tmp_path / "missing.tflite")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="an empty folder"):
        board.push(tmp_path / "empty")


def test_a_file_is_fetched(board: Executor, tmp_path: Path) -> None:
    board.run(["sh", "-c", "mkdir -p out && head -c 100000 /dev/urandom > out/0.bin"], timeout=20)
    board.pull("out/0.bin", tmp_path / "relative")
    board.pull(f"{board.folder}/out/0.bin", tmp_path / "absolute")
    assert (tmp_path / "relative").read_bytes() == Path(board.folder, "out/0.bin").read_bytes()
    assert (tmp_path / "absolute").read_bytes() == (tmp_path / "relative").read_bytes()


def test_a_file_that_is_not_there_cannot_be_fetched(board: Executor, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"out/7\.bin: no such file"):
        board.pull("out/7.bin", tmp_path / "fetched")
    with pytest.raises(DeviceError, match=r"nowhere/fetched: cannot be written"):
        board.run(["touch", "file"], timeout=20)
        board.pull("file", tmp_path / "nowhere" / "fetched")
    assert list(tmp_path.iterdir()) == []


def test_closing_removes_the_session_and_keeps_what_is_kept(own_server: Server, tmp_path: Path) -> None:
    for name in ("program", "model"):
        (tmp_path / name).write_text(name)
    with open_executor(BOARD) as executor:
        kept = executor.push(tmp_path / "program", executable=True, keep=True)
        gone = executor.push(tmp_path / "model")
        executor.run(["touch", "by-the-program"], timeout=20)
    assert Path(kept).read_text() == "program" and not Path(gone).exists()
    assert left_behind(own_server) == []
    inode = Path(kept).stat().st_ino
    with open_executor(BOARD) as executor:
        assert executor.push(tmp_path / "program", executable=True, keep=True) == kept
        assert executor.push(tmp_path / "program") == kept
    assert Path(kept).stat().st_ino == inode


def test_nothing_is_left_after_an_error(own_server: Server, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("model")
    with pytest.raises(ZeroDivisionError), open_executor(BOARD) as executor:
        executor.push(tmp_path / "model")
        raise ZeroDivisionError
    assert left_behind(own_server) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_edgekit_that_is_ended_leaves_nothing_on_the_board(own_server: Server, number: signal.Signals) -> None:
    script = (
        "from edgekit.benchmarking.executors import open_executor\n"
        "from edgekit.profiles.device import load_device\n"
        "with open_executor(load_device('ssh:board')) as board:\n"
        "    print(flush=True)\n"
        "    board.run(['sleep', '4714'], timeout=60)\n"
    )
    command = [sys.executable, "-c", script]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None and process.stdout.readline()
    wait_until(lambda: bool(running("4714")))
    assert left_behind(own_server)
    process.send_signal(number)
    process.wait(30)
    process.stdout.close()
    wait_until(lambda: not running("4714") and not left_behind(own_server))


def test_a_connection_that_breaks_is_told_and_cleaned_up(own_server: Server) -> None:
    with pytest.raises(DeviceError) as caught, open_executor(BOARD) as executor:
        threading.Timer(0.7, own_server.drop_connections).start()
        executor.run(["sleep", "4715"], timeout=60)
    assert "bench (board): the connection was lost" in str(caught.value) and "\n" not in str(caught.value)
    wait_until(lambda: not running("4715") and not left_behind(own_server))


@pytest.mark.slow
def test_a_board_that_falls_silent_is_noticed(own_server: Server) -> None:
    started = time.monotonic()
    with (
        pytest.raises(DeviceError, match=r"the connection was lost .*not responding"),
        open_executor(BOARD) as executor,
    ):
        threading.Timer(0.5, own_server.freeze_connections).start()
        executor.run(["sleep", "4717"], timeout=120)
    assert time.monotonic() - started < 60
    own_server.drop_connections()
    wait_until(lambda: not running("4717"))


def test_a_lost_connection_stays_lost(own_server: Server, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("model")
    with open_executor(BOARD) as executor:
        own_server.drop_connections()
        for _ in range(2):
            with pytest.raises(DeviceError, match="the connection was lost"):
                executor.push(tmp_path / "model")


def test_a_refused_connection(own_server: Server) -> None:
    own_server.stop()
    message = error_of()
    assert "start the ssh server" in message and f"port {own_server.port}" in message


def test_an_unknown_host() -> None:
    assert "no such host: check the name" in error_of(replace(BOARD, host="nowhere.invalid"))


def test_a_host_that_does_not_answer() -> None:
    # 192.0.2.0/24 is for documentation: nobody has it (RFC 5737).
    message = error_of(replace(BOARD, host="192.0.2.1"), connect_s=1.0)
    assert "does not answer" in message or "cannot be reached" in message or "refuses" in message


def test_a_user_whose_key_is_not_accepted(own_server: Server) -> None:
    own_server.authorize("other_key")
    assert "does not accept this user's keys" in error_of() and "ssh-copy-id board" in error_of()


def test_a_board_that_is_not_known_yet(own_server: Server) -> None:
    own_server.trust(None)
    assert "its host key is not known here: connect once by hand" in error_of()
    assert own_server.known_hosts.read_text() == ""


def test_a_changed_host_key(own_server: Server) -> None:
    own_server.trust("other_key")
    message = error_of()
    assert "its host key is not the one that this machine knows" in message and "ssh-keygen" in message
    assert str(own_server.known_hosts) in message


def test_a_server_that_is_none(own_server: Server, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
        message = error_of(replace(BOARD, host=f"ssh://board:{listener.getsockname()[1]}"))
    assert "breaks off the connection: start the ssh server" in message


def test_a_server_that_says_nothing(own_server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        message = error_of(replace(BOARD, host=f"ssh://board:{listener.getsockname()[1]}"), connect_s=1.0)
    assert "does not answer" in message


def test_an_account_without_a_shell(own_server: Server) -> None:
    own_server.authorize("user_key", 'command="echo This account is not available."')
    assert "runs no commands, it says: This account is not available." in error_of()


def test_a_server_that_allows_one_session_per_connection(own_server: Server) -> None:
    own_server.stop()
    with (own_server.folder / "sshd_config").open("a") as file:
        file.write("MaxSessions 1\n")
    own_server.start()
    assert "allows one session per connection: set MaxSessions to 10" in error_of()


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox sh"])
def test_the_scripts_run_in_every_shell(own_server: Server, tmp_path: Path, shell: str) -> None:
    """The forced command puts another ``sh`` and other programs first on the board's PATH, and prints a greeting."""
    program, *applet = shell.split()
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"needs {program}")
    programs = tmp_path / "bin"
    programs.mkdir()
    if applet:
        for name in ("sh", "dd", "mkdir", "find", "rm", "cat", "sha256sum", "chmod", "mv", "setsid", "kill", "sleep"):
            (programs / name).symlink_to(path)
    else:
        (programs / "sh").symlink_to(path)
    own_server.authorize(
        "user_key",
        f'command="echo Welcome; echo Welcome >&2; export PATH={programs}:$PATH; eval \\"$SSH_ORIGINAL_COMMAND\\""',
    )
    (tmp_path / "model").write_bytes(b"model" * 1000)
    with open_executor(BOARD) as executor:
        assert Path(executor.push(tmp_path / "model")).read_bytes() == b"model" * 1000
        assert executor.push(tmp_path / "model", keep=True) == executor.push(tmp_path / "model", keep=True)
        words = ["it's", "a\\b", "\n", "$HOME", "`id`", "*"]
        result = executor.run(["sh", "-c", 'printf "%s|" "$@"; echo words >&2; exit 7', "sh", *words], timeout=20)
        assert (result.exit_code, result.stdout, result.stderr) == (7, "|".join(words) + "|", "words\n")
        executor.pull(executor.push(tmp_path / "model"), tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b"model" * 1000
        with pytest.raises(DeviceError, match="did not end"):
            executor.run(["sh", "-c", "sleep 4716 & sleep 4716"], timeout=0.5)
        wait_until(lambda: not running("4716"))
    assert left_behind(own_server) == []


def test_a_folder_of_the_profile_is_used(own_server: Server) -> None:
    for folder, where in (
        ("~/it's here", own_server.home / "it's here"),
        (f"{own_server.home}/x", own_server.home / "x"),
    ):
        with open_executor(replace(BOARD, folder=folder)) as executor:
            assert Path(executor.folder).parent == where


def test_a_folder_that_cannot_be_made(own_server: Server) -> None:
    (own_server.home / "file").touch()
    message = error_of(replace(BOARD, folder=f"{own_server.home}/file/edgekit"))
    assert f"cannot write to {own_server.home}/file/edgekit" in message and '"folder" in the device profile' in message


def test_a_folder_that_is_not_writable(own_server: Server) -> None:
    folder = "/proc/edgekit"  # not for root either
    message = error_of(replace(BOARD, folder=folder))
    assert f"cannot write to {folder}" in message and 'with "folder" in the device profile' in message


def test_a_full_disk(own_server: Server, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small disk needs the right to mount one")
    try:
        (tmp_path / "model").write_bytes(os.urandom(1_000_000))
        with open_executor(replace(BOARD, folder=f"{disk}/edgekit")) as executor:
            with pytest.raises(DeviceError, match="No space left on device; free some room there"):
                executor.push(tmp_path / "model")
            assert [path.name for path in disk.rglob("*") if path.is_file() and path.stat().st_size] == [".session"]
            assert executor.run(["echo", "alive"], timeout=20).stdout == "alive\n"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_limit_of_the_size_of_files(own_server: Server, tmp_path: Path) -> None:
    own_server.authorize("user_key", 'command="ulimit -f 100; eval \\"$SSH_ORIGINAL_COMMAND\\""')
    (tmp_path / "model").write_bytes(os.urandom(1_000_000))
    with open_executor(BOARD) as executor:
        with pytest.raises(DeviceError, match=r"cannot write to .*; .*folder"):
            executor.push(tmp_path / "model")
        assert list(Path(executor.folder).rglob(".part.*")) == []


def test_a_folder_that_allows_no_programs(own_server: Server, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "none", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a disk without programs needs the right to mount one")
    try:
        (tmp_path / "program").write_text("#!/bin/sh\n")
        board = replace(BOARD, folder=f"{disk}/edgekit")
        with open_executor(board) as executor, pytest.raises(DeviceError, match="mounted noexec"):
            executor.push(tmp_path / "program", executable=True)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_board_that_is_not_what_its_profile_says(server: Server) -> None:
    message = error_of(replace(BOARD, abi="riscv64"))
    assert "its ABI is" in message and 'says abi = "riscv64"' in message
    assert left_behind(server) == [] or len(left_behind(server)) == 1  # that of the module's board


def test_the_socket_fits_where_temporary_files_have_long_names(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with open_executor(BOARD) as executor:
        assert executor.run(["echo", "short"], timeout=20).stdout == "short\n"


def test_ssh_itself_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DependencyError, match="install openssh-client"), open_executor(BOARD):
        pass


def test_a_missing_configuration_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(tmp_path / "none"))
    assert "correct EDGEKIT_SSH_CONFIG" in error_of()


@pytest.mark.parametrize("host", ["-oProxyCommand=touch pwned", "", "a b", "a\nb"])
def test_a_host_is_never_an_option(host: str) -> None:
    with pytest.raises(ProfileError, match="expected adb:SERIAL or ssh:HOST"):
        load_device(f"ssh:{host}")
    with pytest.raises(DeviceError), open_executor(replace(BOARD, host=host or None)):
        pass


def test_two_benchmarks_do_not_share_a_board(own_server: Server, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"model")
    lock = own_server.home / "shared/lock"
    shared = replace(BOARD, folder=str(lock.parent))
    with open_executor(shared) as first, open_executor(shared) as second:
        assert second.facts.cores, "its facts may be asked for"
        first.push(tmp_path / "model")
        first.push(tmp_path / "model")
        with pytest.raises(DeviceError) as caught:
            second.push(tmp_path / "model")
        held = f"bench (board) is in use by {platform.node()} pid {os.getpid()} since 20"
        assert str(caught.value).startswith(held) and f"remove {lock}" in str(caught.value)
        assert caught.value.exit_code == 6 and "\n" not in str(caught.value)
    assert not os.path.lexists(lock)
    with open_executor(shared) as executor:
        executor.push(tmp_path / "model")


@pytest.mark.parametrize("session", ["", "999999999 1 a-boot", "{pid} 1 {boot}", "{pid} {begun} another-boot"])
def test_the_lock_of_a_session_that_is_over_is_taken_over(own_server: Server, tmp_path: Path, session: str) -> None:
    base = own_server.home / "shared"
    (base / "session.0123456789abcdef").mkdir(parents=True)
    begun = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    words = session.format(pid=os.getpid(), begun=begun, boot=boot)
    (base / "session.0123456789abcdef/.session").write_text(f"{words}\n")
    (base / "lock").symlink_to("session.0123456789abcdef host pid 7 since 2026-11-22T03:04:05+0000")
    (tmp_path / "model").write_bytes(b"model")
    with open_executor(replace(BOARD, folder=str(base))) as executor:
        executor.push(tmp_path / "model")
        assert (base / "lock").readlink().name.split()[0] == Path(executor.folder).name
    assert not os.path.lexists(base / "lock")
