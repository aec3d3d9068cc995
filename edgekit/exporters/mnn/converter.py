"""Runs MNN's converter: in a subprocess, in a directory of its own, believing nothing but what can be checked.

The converter segfaults on some files, clashes with TensorFlow's protobuf, and keeps scratch files in the working
directory: two conversions in one directory corrupt each other. It exits with 0 whatever happens. Its console scripts
and the ``MNN.tools`` package send telemetry; the compiled module ``_tools`` does not.
"""

import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgekit.errors import DependencyError, ModelError

_PROGRAM = (
    "import resource, sys, _tools; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
    "_tools.mnnconvert(['mnnconvert', *sys.argv[1:]])"
)
"""A crash leaves no core file behind."""

_TIMEOUT_S = 600.0
"""How long one conversion may take: large networks take a minute on a slow machine."""
_BIZ_CODE = ["--bizCode", "edgekit"]
_SUCCESS = "Converted Success!"
_UNSUPPORTED = re.compile(r"These Op Not Support: (.*)")


class ConverterFailedError(ModelError):
    """MNN's converter crashed, or wrote nothing that can be used."""


class UnsupportedOpsError(ModelError):
    """MNN's converter does not know some operators; ``op_types`` names them in ONNX's words."""

    def __init__(self, op_types: Sequence[str]) -> None:
        super().__init__(f"MNN's converter does not know {', '.join(op_types)}; change these nodes in the source model")
        self.op_types = tuple(op_types)


def convert_onnx(source: Path, target: Path) -> None:
    """Convert a float ONNX file to a float ``.mnn`` file. Raises UnsupportedOpsError or ConverterFailedError."""
    # The While loops that the converter makes of an LSTM or GRU by default do not run in MNN's sessions.
    options = ["--useOriginRNNImpl", "--useGeluApproximation", "0"]
    _convert(["-f", "ONNX", "--modelFile", str(source.resolve()), *options], target)


def compress(source: Path, target: Path, parameters: Path) -> None:
    """Quantize the weights of a float ``.mnn`` file with ``parameters`` (JSON). Raises ConverterFailedError."""
    source_arguments = ["-f", "MNN", "--modelFile", str(source.resolve())]
    _convert([*source_arguments, "--compressionParamsFile", str(parameters.resolve())], target)


def store_half(source: Path, target: Path) -> None:
    """Store weights in float16, truncated: round them before. Raises ConverterFailedError."""
    _convert(["-f", "MNN", "--modelFile", str(source.resolve()), "--fp16"], target)


def _run(command: Sequence[str], directory: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=directory, capture_output=True, text=True, errors="replace", check=False, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise ConverterFailedError(
            f"MNN's converter did not end in {_TIMEOUT_S:g} s; export the other formats, or simplify the model"
        ) from None


def _convert(arguments: Sequence[str], target: Path) -> None:
    if importlib.util.find_spec("_tools") is None:
        raise DependencyError("MNN export needs MNN's converter, which is not installed: pip install MNN")
    target.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="edgekit-mnn-") as directory:
        command = [sys.executable, "-P", "-c", _PROGRAM, *arguments, "--MNNModel", str(target.resolve()), *_BIZ_CODE]
        run = _run(command, directory)
    log = run.stdout + run.stderr
    if unsupported := _UNSUPPORTED.search(log):
        raise UnsupportedOpsError([name.strip().removeprefix("ONNX::") for name in unsupported[1].split("|")])
    if run.returncode or _SUCCESS not in log or not target.exists():
        lines = [line.strip() for line in log.splitlines() if line.strip()]
        last = lines[-1] if lines else "it printed nothing"
        raise ConverterFailedError(
            f"MNN's converter failed (exit code {run.returncode}, its last words: {last}); "
            "export the other formats, or report the model to edgekit"
        )
