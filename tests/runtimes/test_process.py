import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import GateError, ModelError, UsageError
from edgekit.exporters import ExportOptions
from edgekit.exporters.tflite import TFLiteExporter
from edgekit.interface import Precision
from edgekit.runtimes import find_runtime
from edgekit.runtimes.process import RuntimeFailedError, RuntimeProcess
from tests.exporters.tflite.graphs import Builder
from tests.runtimes.crashing import save_crashing_tflite

SHAPE = (1, 3, 8, 8)


def double_and_relu():
    b = Builder()
    doubled = b.node("Mul", [b.input("x", SHAPE), np.float32(2)])
    b.node("Relu", [doubled], "y")
    return b.model("y")


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "double.onnx"
    path.write_bytes(double_and_relu().SerializeToString())
    return path


@pytest.fixture(scope="module")
def tflite_file(tmp_path_factory) -> Path:
    import onnx_ir as ir

    path = tmp_path_factory.mktemp("tflite") / "double.tflite"
    TFLiteExporter().export(ir.from_proto(double_and_relu()), ExportOptions(Precision.FP32), path)
    return path


@pytest.fixture(params=["onnx", "tflite"])
def artifact(request, onnx_file, tflite_file) -> tuple[str, Path]:
    return request.param, onnx_file if request.param == "onnx" else tflite_file


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_runs_like_the_function_and_describes_itself(artifact):
    kind, path = artifact
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    with RuntimeProcess(kind, path) as process:
        assert [(spec.name, spec.dtype, spec.shape) for spec in process.inputs] == [("x", "float32", SHAPE)]
        assert [spec.name for spec in process.outputs] == ["y"]
        assert process.version == find_runtime(kind).version()
        np.testing.assert_allclose(process.run({"x": x})["y"], np.maximum(2 * x, 0), rtol=1e-6)


def test_submit_and_collect_keep_two_runtimes_busy(onnx_file, tflite_file):
    x = np.ones(SHAPE, np.float32)
    with RuntimeProcess("onnx", onnx_file) as first, RuntimeProcess("tflite", tflite_file) as second:
        for process in (first, second):
            process.submit({"x": x})
        np.testing.assert_array_equal(first.collect()["y"], second.collect()["y"])


def test_two_workers_load_at_the_same_time(onnx_file, tflite_file):
    first, second = RuntimeProcess("onnx", onnx_file), RuntimeProcess("tflite", tflite_file)
    for process in (first, second):
        process.start()
    pids = [first.pid, second.pid]
    with first, second:
        assert [first.pid, second.pid] == pids
        for process in (first, second):
            process.submit_delegation()
        assert all(process.collect_delegation().total_ops > 0 for process in (first, second))
    assert not any(alive(pid) for pid in pids)


def test_writes_nothing_beside_the_artifact_and_leaves_no_temporary_files(artifact, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kind, path = artifact
    before = sorted(path.parent.iterdir())
    with RuntimeProcess(kind, path) as process:
        process.run({"x": np.ones(SHAPE, np.float32)})
        process.delegation()
    assert sorted(path.parent.iterdir()) == before
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_crashes_the_runtime_is_an_error_not_a_dead_process(tmp_path):
    path = save_crashing_tflite(tmp_path / "loop.tflite")
    with pytest.raises(
        RuntimeFailedError, match=r"phone/loop\.tflite: litert crashed with SIGSEGV while loading"
    ) as caught:
        RuntimeProcess("tflite", path, label="phone/loop.tflite").__enter__()
    assert isinstance(caught.value, GateError)
    assert "\n" not in str(caught.value)


def test_a_crash_between_samples_is_found_at_the_next(artifact):
    with RuntimeProcess(*artifact) as process:
        os.kill(process.pid, signal.SIGABRT)
        with pytest.raises(RuntimeFailedError, match="SIGABRT while running"):
            process.run({"x": np.ones(SHAPE, np.float32)})


def test_a_hang_ends_at_the_time_out(artifact):
    with RuntimeProcess(*artifact, timeout=1.0) as process:
        pid = process.pid
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(RuntimeFailedError, match="no answer in 1 s while running"):
            process.run({"x": np.ones(SHAPE, np.float32)})
        assert time.monotonic() - began < 10
    assert not alive(pid)


@pytest.mark.parametrize("size", [0, 1, 7, 100, -1])
def test_truncated_and_empty_files_are_named(artifact, tmp_path, size):
    kind, path = artifact
    cut = tmp_path / path.name
    cut.write_bytes(path.read_bytes()[:size])
    with pytest.raises((ModelError, RuntimeFailedError)) as caught:
        RuntimeProcess(kind, cut).__enter__()
    assert str(cut) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_the_runtime_says_last_is_in_the_message(artifact):
    kind, path = artifact
    with (
        RuntimeProcess(kind, path) as process,
        pytest.raises(RuntimeFailedError, match=r"its last words: .*(?i:error|INVALID)"),
    ):
        process.run({"x": np.ones((1, 2), np.float32)})


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_any_exception_kills_the_worker(onnx_file, error):
    with pytest.raises(error), RuntimeProcess("onnx", onnx_file) as process:
        pid = process.pid
        raise error
    assert not alive(pid)


def test_the_worker_ends_when_its_client_is_killed(onnx_file):
    script = (
        "import time; from pathlib import Path; from edgekit.runtimes.process import RuntimeProcess\n"
        f"with RuntimeProcess('onnx', Path({str(onnx_file)!r})) as p: print(p.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as client:
        pid = int(client.stdout.readline())
        client.kill()
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def test_python_files_in_the_working_directory_are_not_run(onnx_file, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    with RuntimeProcess("onnx", onnx_file) as process:
        assert process.run({"x": np.zeros(SHAPE, np.float32)})["y"].shape == SHAPE


def test_memory_does_not_grow_with_the_samples(artifact):
    def resident(pid: int) -> int:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    x = {"x": np.ones(SHAPE, np.float32)}
    with RuntimeProcess(*artifact) as process:
        for _ in range(50):
            process.run(x)
        before = resident(process.pid)
        for _ in range(2000):
            process.run(x)
        assert resident(process.pid) - before < 1 << 20


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(UsageError, match='did you mean "tflite"'):
        find_runtime("tflit")
