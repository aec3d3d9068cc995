from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from edgekit.benchmarking.executors import Completed, DeviceFacts, Executor, open_executor
from edgekit.benchmarking.runner.build import host_abi
from edgekit.benchmarking.runners import Limits, Workload, native
from edgekit.benchmarking.runners.native import RUNNER, PreparedNative
from edgekit.benchmarking.runners.python import RUNNER as PYTHON
from edgekit.benchmarking.runners.python import PreparedPython
from edgekit.benchmarking.runners.wheels import Wheel
from edgekit.errors import DependencyError, DeviceError, ModelError, ProfileError
from edgekit.profiles.device import Device
from edgekit.profiles.runner import RunnerProfile
from tests.benchmarking.runner.conftest import island, models  # noqa: F401  (fixtures)
from tests.benchmarking.runner.programs import library
from tests.benchmarking.runner.programs import native as built
from tests.benchmarking.runner.test_programs import save_echo
from tests.exporters.mnn import graphs
from tests.runtimes.crashing import save_crashing_tflite

LIMITS = Limits(warmup_s=0.05, min_runs=5, min_s=0, max_s=10)
LOCAL = Device("here", None, "this machine", "local")
BOARD = Device("board", None, "a board", "ssh", host="board")


class Elsewhere:
    """A board that takes everything and whose Python answers as the test says."""

    def __init__(self, abi: str | None = "arm64-v8a", answer: str = "{}") -> None:
        self.facts = DeviceFacts("board", "ssh", abi=abi)
        self.folder = "/tmp/board"
        self.pushed: list[Path] = []
        self._answer = answer

    def push(self, path: Path, *, executable: bool = False, keep: bool = False) -> str:
        self.pushed.append(path)
        return f"/cache/{path.name}"

    def run(self, command, *, timeout):
        return Completed(0, self._answer, "")

    def pull(self, remote, local):
        raise AssertionError


@pytest.fixture
def executor():
    built()
    with open_executor(LOCAL) as opened:
        yield opened


def trial_of(executor: Executor, prepared, workload: Workload):
    return prepared.parse(executor.run(prepared.command(workload), timeout=60), workload)


@pytest.mark.parametrize(("format_name", "runtime"), [("tflite", "litert"), ("onnx", "onnxruntime"), ("mnn", "mnn")])
def test_measures_with_the_wheels_that_are_installed(format_name, runtime, executor, models):  # noqa: F811
    prepared = RUNNER.prepare(executor, LOCAL, format_name)
    assert prepared.runtime == runtime
    assert isinstance(prepared, PreparedPython if format_name == "mnn" else PreparedNative)
    workload = Workload(format_name, str(models[format_name]), 2, LIMITS, profile=True)
    trial = trial_of(executor, prepared, workload)
    assert trial.runs == len(trial.times_ms) == 5
    assert min(trial.times_ms) <= trial.mean_ms <= max(trial.times_ms)
    assert trial.load_ms > trial.mean_ms
    assert trial.peak_memory_bytes > 1 << 20
    assert trial.runtime_version[0].isdigit()
    assert sum(op.mean_ms for op in trial.profile) > 0


def test_the_delegate_is_asked_for(executor, island):  # noqa: F811
    prepared = RUNNER.prepare(executor, LOCAL, "tflite")
    trials = {
        delegate: trial_of(executor, prepared, Workload("tflite", str(island), 1, LIMITS, delegate))
        for delegate in ("xnnpack", "none")
    }
    assert trials["none"].accelerated_ops == 0 < trials["xnnpack"].accelerated_ops < trials["xnnpack"].total_ops


def cut(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def garbage(content: bytes) -> bytes:
    return bytes(100)


@pytest.mark.parametrize("runner", [RUNNER, PYTHON], ids=["edgekit", "python"])
@pytest.mark.parametrize("format_name", ["tflite", "onnx", "mnn"])
@pytest.mark.parametrize("broken", [cut, garbage])
def test_a_broken_file_is_to_blame(broken, format_name, runner, executor, models, tmp_path):  # noqa: F811
    prepared = runner.prepare(executor, LOCAL, format_name)
    path = tmp_path / f"bad.{format_name}"
    path.write_bytes(broken(models[format_name].read_bytes()))
    with pytest.raises(ModelError, match=rf"^mine\.{format_name}: .*; expected a file .*: export it again$") as caught:
        trial_of(executor, prepared, Workload(format_name, str(path), 1, LIMITS, label=f"mine.{format_name}"))
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("runner", [RUNNER, PYTHON], ids=["edgekit", "python"])
def test_a_file_that_crashes_the_runtime_is_to_blame(runner, executor, tmp_path):
    prepared = runner.prepare(executor, LOCAL, "tflite")
    crash = save_crashing_tflite(tmp_path / "crash.tflite")
    with pytest.raises(ModelError, match=r"^mine\.tflite: litert crashes with SIGSEGV while \w+ing it; expected"):
        trial_of(executor, prepared, Workload("tflite", str(crash), 1, LIMITS, label="mine.tflite"))


@pytest.mark.parametrize("runner", [RUNNER, PYTHON], ids=["edgekit", "python"])
def test_an_inference_that_fails_is_the_files(runner, executor, tmp_path):
    table, end = np.zeros((2, 3), np.float32), np.array([7], np.int64)
    node = helper.make_node("Gather", ["x", "end"], ["y"], name="gather")
    onnx.save(ir.to_proto(graphs.model([node], {"x": table}, {"end": end}, ["y"])), tmp_path / "m.onnx")
    prepared = runner.prepare(executor, LOCAL, "onnx")
    with pytest.raises(ModelError, match=r"^mine: onnxruntime: .*indices.*; expected a file"):
        trial_of(executor, prepared, Workload("onnx", str(tmp_path / "m.onnx"), 1, LIMITS, label="mine"))


@pytest.mark.parametrize("runner", [RUNNER, PYTHON], ids=["edgekit", "python"])
def test_a_dynamic_input_is_told_once_and_with_one_advice(runner, executor, tmp_path):
    model = save_echo(tmp_path / "d.onnx", ("N", "M"), {"x": TensorProto.FLOAT})
    prepared = runner.prepare(executor, LOCAL, "onnx")
    with pytest.raises(ModelError, match=r'^mine: input "x" has a dynamic dimension: fix its shape$'):
        trial_of(executor, prepared, Workload("onnx", str(model), 1, LIMITS, label="mine"))


def profile(**keywords) -> Device:
    runners = {"tflite": RunnerProfile("edgekit", **keywords)}
    return Device("board", Path("board.toml"), "a board", "ssh", host="board", runners=runners)


def test_the_libraries_of_the_profile(executor, models, tmp_path):  # noqa: F811
    beside = tmp_path / "libextra.so"
    beside.write_bytes(b"no ELF file")
    runners = {"tflite": RunnerProfile("edgekit", libraries=(beside, Path(library(models["tflite"]))))}
    device = Device("here", None, "this machine", "local", runners=runners)
    prepared = RUNNER.prepare(executor, device, "tflite")
    workload = Workload("tflite", str(models["tflite"]), 1, LIMITS)
    assert "libLiteRt.so" in " ".join(prepared.command(workload))
    assert trial_of(executor, prepared, workload).runs == 5


def test_a_library_for_another_processor(models):  # noqa: F811
    other = "arm64-v8a" if host_abi() != "arm64-v8a" else "x86_64"
    ours = Path(library(models["tflite"]))
    with pytest.raises(DeviceError, match=rf"libLiteRt\.so: built for {host_abi()}, but board runs {other}"):
        RUNNER.prepare(Elsewhere(other), profile(remote="/opt/runner", libraries=(ours,)), "tflite")


def test_a_program_for_another_processor():
    other = "arm64-v8a" if host_abi() != "arm64-v8a" else "x86_64"
    program = Path(*built())
    with pytest.raises(DeviceError, match=rf"edgekit-runner: built for {host_abi()}, but board runs {other}"):
        RUNNER.prepare(Elsewhere(other), profile(path=program), "tflite")


def test_libraries_that_are_not_there(tmp_path):
    with pytest.raises(ProfileError, match=r'board\.toml: \[runners\.tflite\] "libraries": no file .*none\.so'):
        RUNNER.prepare(Elsewhere(), profile(remote="/opt/runner", libraries=(tmp_path / "none.so",)), "tflite")
    paths = tuple(tmp_path / name for name in ("a.so", "b.so"))
    for path in paths:
        path.write_bytes(b"")
    with pytest.raises(ProfileError, match=r'"libraries" has no libLiteRt\.so'):
        RUNNER.prepare(Elsewhere(), profile(remote="/opt/runner", libraries=paths), "tflite")


def test_a_board_without_the_wheel(monkeypatch):
    monkeypatch.setattr(native, "build_runner", lambda abi, for_this_machine: Path("/edgekit-runner"))
    with pytest.raises(DependencyError, match=r"board: python3 has no ai-edge-litert: python3 -m pip install"):
        RUNNER.prepare(Elsewhere(), BOARD, "tflite")
    with pytest.raises(DeviceError, match=r'board: python3 cannot tell.*"python" in the device profile'):
        RUNNER.prepare(Elsewhere(answer="command not found"), BOARD, "tflite")
    with pytest.raises(DeviceError, match=r'does not tell its ABI; set "abi"'):
        RUNNER.prepare(Elsewhere(abi=None), BOARD, "tflite")


@pytest.mark.parametrize(
    ("wheel", "kind"),
    [
        (Wheel("ai_edge_litert", "2.3.0", "/site/libLiteRt.so"), PreparedNative),
        (Wheel("ai_edge_litert", "2.1.6.dev3", "/site/libLiteRt.so"), PreparedNative),
        (Wheel("ai_edge_litert", None, "/site/libLiteRt.so"), PreparedNative),
        # The C functions of older libraries are others.
        (Wheel("ai_edge_litert", "2.1.5", "/site/libLiteRt.so"), PreparedPython),
        (Wheel("tflite_runtime", "2.14.0", None), PreparedPython),
    ],
)
def test_a_wheel_without_a_library_that_can_be_used_runs_from_python(wheel, kind, monkeypatch):
    wheels = {"tflite": wheel, "numpy": Wheel("numpy", "2.0.0", None)}
    monkeypatch.setattr(native, "build_runner", lambda abi, for_this_machine: Path("/edgekit-runner"))
    monkeypatch.setattr("edgekit.benchmarking.runners.native.find_wheels", lambda executor, device: wheels)
    monkeypatch.setattr("edgekit.benchmarking.runners.python.find_wheels", lambda executor, device: wheels)
    assert isinstance(RUNNER.prepare(Elsewhere(), BOARD, "tflite"), kind)


def test_android_needs_a_program():
    phone = Device("phone", None, "a phone", "adb", serial="1")
    with pytest.raises(ProfileError, match="not built for Android"):
        RUNNER.prepare(Elsewhere(), phone, "tflite")
