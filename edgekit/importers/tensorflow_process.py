"""The parent's side of the TensorFlow subprocess: start it, hear its one answer, and never outlive or leak it."""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir

import edgekit
from edgekit import errors
from edgekit.errors import DependencyError, EdgekitError, ModelError
from edgekit.graph.onnxruntime import TELEMETRY_OFF
from edgekit.importers.conform import conform
from edgekit.importers.input_shapes import Shape
from edgekit.importers.onnx import read_proto

_TIMEOUT_S = 900.0
"""How long one import may take: TensorFlow starts in seconds, large networks convert in minutes on slow machines."""

_PROGRAM = (
    "import resource, runpy; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
    "runpy.run_module('edgekit.importers.tensorflow_worker', run_name='__main__', alter_sys=True)"
)
"""A crash leaves no core file behind."""

_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "KERAS_BACKEND": "tensorflow",
    "TF_USE_LEGACY_KERAS": "0",
    "PYTHONHASHSEED": "0",  # tf2onnx names nodes in set order; two imports must give identical bytes
}


def import_through_tensorflow(kind: str, path: Path, input_shapes: Mapping[str, Shape] | None) -> ir.Model:
    """The graph of a model that needs TensorFlow to be read; ``kind`` is the worker's name for the format.

    Raises DependencyError when TensorFlow or tf2onnx is missing, and whatever EdgekitError the worker reports.
    """
    _require_tensorflow(kind)
    with tempfile.TemporaryDirectory(prefix="edgekit-import-") as folder:
        output = Path(folder) / "model.onnx"
        request = {
            "kind": kind,
            "path": str(path.resolve()),
            "input_shapes": {name: list(shape) for name, shape in (input_shapes or {}).items()},
            "output": str(output),
        }
        _run_worker(request, path, Path(folder))
        return conform(read_proto(output), Path(folder), input_shapes)


def _require_tensorflow(kind: str) -> None:
    if any(importlib.util.find_spec(name) is None for name in ("tensorflow", "tf2onnx")):
        raise DependencyError(f"{kind} import needs tensorflow and tf2onnx: pip install 'edgekit[tensorflow]'")


def _run_worker(request: Mapping[str, object], path: Path, folder: Path) -> None:
    with (folder / "stderr.txt").open("w+b") as log:
        worker = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            env=_environment(folder),
            start_new_session=True,
            bufsize=0,
        )
        late = threading.Event()
        timer = threading.Timer(_TIMEOUT_S, _stop, (worker, late))
        timer.daemon = True
        timer.start()
        try:
            answer = _converse(worker, request)
        finally:
            timer.cancel()
            _end(worker)
        if late.is_set():
            raise ModelError(f"{path}: TensorFlow did not read it in {_TIMEOUT_S:g} s; simplify the model")
        log.seek(0)
        _raise_for(answer, worker.returncode, path, log.read().decode(errors="replace"))


def _converse(worker: subprocess.Popen[bytes], request: Mapping[str, object]) -> str:
    """Send the request, wait for the answer. Standard input stays open: its end tells the worker that we are gone."""
    assert worker.stdin is not None and worker.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it died at once; its exit status tells more
        worker.stdin.write(json.dumps(request).encode() + b"\n")
    answer = worker.stdout.read().decode(errors="replace")
    worker.wait()
    return answer


def _stop(worker: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)


def _end(worker: subprocess.Popen[bytes]) -> None:
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            pipe.close()
    worker.wait()


def _environment(folder: Path) -> dict[str, str]:
    environment = {**TELEMETRY_OFF, **os.environ, **_QUIET, "TMPDIR": str(folder), "KERAS_HOME": str(folder)}
    package_root = str(Path(edgekit.__path__[0]).resolve().parent)
    if package_root != sysconfig.get_paths()["purelib"]:
        inherited = os.environ.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([package_root, inherited] if inherited else [package_root])
    return environment


def _raise_for(answer: str, returncode: int, path: Path, log: str) -> None:
    """Turn the worker's answer, or its death, into an error; return when all went well."""
    if returncode < 0:
        name = signal.Signals(-returncode).name
        raise ModelError(
            f"{path}: TensorFlow crashed while reading it ({name}); the file is damaged or too large for memory"
        )
    try:
        report = json.loads(answer)
    except json.JSONDecodeError as error:
        last = next((line for line in reversed(log.splitlines()) if line.strip()), f"exit status {returncode}")
        raise ModelError(f"{path}: TensorFlow could not be started or failed: {last.strip()[:300]}") from error
    if "error" in report:
        kind = getattr(errors, report["error"], ModelError)
        assert issubclass(kind, EdgekitError)
        raise kind(report["message"])
