"""What CI systems do to a benchmark that they cancel: signal upon signal."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarking.adb.phone import Phone
from tests.benchmarking.adb.test_end_to_end import Tool

# Switching the mode off takes a while, and says when it begins.
_SLOW_POWER = """#!/bin/sh
[ "$3" = false ] && { touch "$ROOT/switching-off"; sleep 1; }
echo "$3" >> "$ROOT/fixed-performance"
"""


def _wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, f"no {path.name}"
        time.sleep(0.02)


@pytest.fixture
def running(phone: Phone, tool: Tool, tmp_path: Path) -> "subprocess.Popen[str]":
    """A benchmark whose program does not end."""
    phone.command("cmd", _SLOW_POWER)
    program = tool("benchmark_model", f"touch {phone.root}/started\nsleep 600")
    profile = tmp_path / "pixel.toml"
    profile.write_text(
        f'description = "a phone"\nkind = "adb"\nserial = "{phone.serial}"\n'
        f'[runners.tflite]\nkind = "benchmark_model"\npath = "{program}"\n'
    )
    (tmp_path / "net.tflite").write_bytes(b"tflite")
    command = [sys.executable, "-m", "edgekit", "benchmark", str(tmp_path / "net.tflite"), "--device", str(profile)]
    process = subprocess.Popen(
        [*command, "--quick", "--no-history", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _wait_for(phone.root / "started", process)
    return process


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_end_the_clean_up(
    running: "subprocess.Popen[str]", phone: Phone, first: signal.Signals
) -> None:
    os.kill(running.pid, first)
    _wait_for(phone.root / "switching-off", running)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.killpg(running.pid, number)
    stdout, stderr = running.communicate(timeout=120)
    assert running.returncode == 130
    assert stderr.splitlines() == ["edgekit: error: interrupted; no file is half-written"]
    assert json.loads(stdout)["error"]["exit_code"] == 130
    assert (phone.root / "fixed-performance").read_text().split() == ["true", "false"]
    assert list(phone.files.glob("session-*")) == [] and phone.programs() == []
