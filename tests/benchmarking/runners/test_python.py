import sys

import pytest

from edgekit.benchmarking.executors import Completed, DeviceFacts, open_executor
from edgekit.benchmarking.runners import Limits, Workload
from edgekit.benchmarking.runners.python import RUNNER
from edgekit.benchmarking.runners.wheels import find_wheels
from edgekit.errors import DependencyError
from edgekit.profiles.device import Device
from tests.benchmarking.runner.conftest import models  # noqa: F401  (a fixture)

LIMITS = Limits(warmup_s=0, min_runs=4, min_s=0, max_s=10)
LOCAL = Device("here", None, "this machine", "local")


@pytest.mark.parametrize(("format_name", "runtime"), [("tflite", "litert"), ("onnx", "onnxruntime"), ("mnn", "mnn")])
def test_measures_every_format(format_name, runtime, models):  # noqa: F811
    with open_executor(LOCAL) as executor:
        prepared = RUNNER.prepare(executor, LOCAL, format_name)
        assert prepared.runtime == runtime
        workload = Workload(format_name, str(models[format_name]), 1, LIMITS)
        command = prepared.command(workload)
        assert command[0] == sys.executable
        trial = prepared.parse(executor.run(command, timeout=60), workload)
    assert trial.runs == len(trial.times_ms) == 4
    assert trial.runtime_version[0].isdigit()


def test_finds_the_wheels_of_this_python():
    import onnxruntime

    with open_executor(LOCAL) as executor:
        wheels = find_wheels(executor, LOCAL)
    assert set(wheels) == {"tflite", "onnx", "mnn", "numpy"}
    assert wheels["onnx"].version == onnxruntime.__version__
    assert "libonnxruntime.so" in wheels["onnx"].library
    assert wheels["tflite"].library.endswith("libLiteRt.so")
    assert wheels["mnn"].library is None


class Board:
    facts = DeviceFacts("board", "ssh", abi="arm64-v8a")
    folder = "/tmp/board"

    def __init__(self, answer: str) -> None:
        self._answer = answer
        self.commands = []

    def push(self, path, *, executable=False, keep=False):
        return f"/cache/{path.name}"

    def run(self, command, *, timeout):
        self.commands.append(command)
        return Completed(0, self._answer, "")

    def pull(self, remote, local):
        raise AssertionError


def test_says_what_to_install_on_a_board():
    device = Device("board", None, "a board", "ssh", host="board", python="/opt/venv/bin/python")
    nothing = '{"tflite": null, "onnx": null, "mnn": null, "numpy": null}'
    board = Board(nothing)
    with pytest.raises(DependencyError, match=r"board: /opt/venv/bin/python has no MNN: .* -m pip install MNN"):
        RUNNER.prepare(board, device, "mnn")
    assert board.commands[0][0] == "/opt/venv/bin/python"
    wheel = '{"module": "MNN", "version": "3.6.1", "library": null}'
    with pytest.raises(DependencyError, match="has no numpy"):
        RUNNER.prepare(Board(nothing.replace('"mnn": null', f'"mnn": {wheel}')), device, "mnn")
    ready = Board(nothing.replace('"mnn": null', f'"mnn": {wheel}').replace('"numpy": null', f'"numpy": {wheel}'))
    workload = Workload("mnn", "/m.mnn", 1, LIMITS)
    assert RUNNER.prepare(ready, device, "mnn").command(workload)[:2] == ["/opt/venv/bin/python", "/cache/runner.py"]
