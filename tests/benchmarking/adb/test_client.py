import os
import socket
import sys
from pathlib import Path

import pytest

from edgekit.benchmarking.executors.adb import client
from edgekit.benchmarking.executors.adb.client import Adb, find_adb, last_words, run_bounded
from edgekit.errors import DependencyError, DeviceError


def _program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No adb on PATH, in a home of Android, or in a package."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for variable in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    monkeypatch.delitem(sys.modules, "adbutils", raising=False)
    return tmp_path


def test_without_adb_it_says_how_to_get_it(nowhere: Path):
    with pytest.raises(DependencyError, match=r"pip install 'edgekit\[adb\]'"):
        find_adb()


def test_adb_is_looked_for_in_that_order(nowhere: Path, monkeypatch: pytest.MonkeyPatch):
    (nowhere / "site" / "adbutils").mkdir(parents=True)
    (nowhere / "site" / "adbutils" / "__init__.py").write_text("raise RuntimeError('imported')")
    bundled = _program(nowhere / "site" / "adbutils" / "binaries" / "adb")
    assert find_adb() == bundled
    for variable in ("ANDROID_SDK_ROOT", "ANDROID_HOME"):
        monkeypatch.setenv(variable, str(nowhere / variable))
        in_sdk = _program(nowhere / variable / "platform-tools" / "adb")
        assert find_adb() == in_sdk
    on_path = _program(nowhere / "bin" / "adb")
    assert find_adb() == on_path


def test_a_command_that_hangs_is_stopped(tmp_path: Path):
    with pytest.raises(TimeoutError):
        run_bounded(["sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 600"], timeout=1.0)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_child_that_keeps_the_pipes_open_is_not_waited_for():
    output = run_bounded(["sh", "-c", "sleep 60 & echo done"], timeout=30)
    assert (output.exit_code, output.stdout) == (0, "done\n")


def test_endless_output_is_stopped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "MAXIMUM_OUTPUT", 1 << 20)
    with pytest.raises(DeviceError, match="wrote more than 1 MiB"):
        run_bounded(["sh", "-c", "yes"], timeout=60)


def test_output_is_text_whatever_it_is():
    output = run_bounded(["sh", "-c", r"printf 'a\r\n\377'; printf b >&2; exit 7"], timeout=30)
    assert (output.exit_code, output.stdout, output.stderr) == (7, "a\n�", "b")


def test_a_program_that_cannot_be_started():
    with pytest.raises(DeviceError, match="cannot be started"):
        run_bounded(["/nowhere/adb"], timeout=5)


def test_last_words_are_one_short_line():
    assert last_words("first\n\nadb: error: closed\n \n") == "adb: error: closed"
    assert last_words("") == "no message"
    assert len(last_words("x" * 9999)) == 300


def test_a_server_that_cannot_be_started(adb: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "99999999")
    with pytest.raises(DeviceError, match=r"start-server failed: .*99999999.*; expected a running adb server"):
        Adb()


def test_somebody_else_on_the_servers_port(adb: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "_SERVER_START_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(listener.getsockname()[1]))
        with pytest.raises(DeviceError, match="start-server hangs; end the old adb server"):
            Adb()
