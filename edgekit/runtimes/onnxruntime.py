"""ONNX Runtime on its CPU execution provider."""

import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit.errors import DependencyError, ModelError
from edgekit.graph.onnxruntime import load_onnxruntime
from edgekit.interface import Precision, TensorSpec
from edgekit.runtimes import Array, Delegation, Runtime, Session

_PROVIDERS = ["CPUExecutionProvider"]

# onnxruntime's words for tensor element types, and numpy's.
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int16)": "int16",
    "tensor(uint16)": "uint16",
    "tensor(int32)": "int32",
    "tensor(uint32)": "uint32",
    "tensor(int64)": "int64",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
}


class OnnxRuntime:
    """Runs ``.onnx`` files."""

    format = "onnx"
    name = "onnxruntime"
    package = "onnxruntime"

    def version(self) -> str:
        """The version of the installed onnxruntime distribution, whatever its build is called."""
        if importlib.util.find_spec("onnxruntime") is None:
            raise DependencyError("ONNX needs onnxruntime, which is not installed: pip install onnxruntime")
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            # Other builds of the same module: onnxruntime-gpu, onnxruntime-openvino, ...
            onnxruntime = load_onnxruntime()
            return str(onnxruntime.__version__)

    def load(self, path: Path, threads: int, precision: Precision | None = None) -> Session:
        """Load ``path``; see :meth:`edgekit.runtimes.Runtime.load`."""
        self.version()
        return OnnxRuntimeSession(path, threads, precision)


class OnnxRuntimeSession:
    """One inference session at the highest optimization level."""

    def __init__(self, path: Path, threads: int, precision: Precision | None = None) -> None:
        self._precision = precision
        self._path = path
        self._threads = threads
        self._session = _create(path, threads, integer=precision is Precision.INT8)
        self.inputs = tuple(_spec(path, argument) for argument in self._session.get_inputs())
        self.outputs = tuple(_spec(path, argument) for argument in self._session.get_outputs())
        self._output_names = [spec.name for spec in self.outputs]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; raises onnxruntime's errors (RuntimeError, or its own classes) for wrong feeds."""
        values = self._session.run(self._output_names, dict(feeds))
        return dict(zip(self._output_names, values, strict=True))

    def delegation(self) -> Delegation | None:
        """Which operations run in integer kernels, read from the graph as onnxruntime has optimized it."""
        from edgekit.runtimes.onnxruntime_graph import read_delegation

        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            optimized = Path(folder, "optimized.onnx")
            _create(self._path, self._threads, integer=True, optimized=optimized)
            return read_delegation(self._path, optimized, wants_int8=self._precision is Precision.INT8)

    def close(self) -> None:
        """Free the session."""
        self._session = None


def _create(path: Path, threads: int, *, integer: bool, optimized: Path | None = None) -> Any:
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    if integer:
        # On x86 onnxruntime leaves int8 activations partly in float; on ARM, where such files go, it fuses them. With
        # this x86 does so too and gives the same integers (EfficientNet-Lite1; else three output steps apart).
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    errors = onnxruntime.capi.onnxruntime_pybind11_state
    refusals = (
        errors.Fail,
        errors.InvalidArgument,
        errors.InvalidGraph,
        errors.InvalidProtobuf,
        errors.NoSuchFile,
        errors.NotImplemented,
        errors.RuntimeException,
    )
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=_PROVIDERS)
    except refusals as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: onnxruntime cannot load this file: {reason}; export it again") from error


def _spec(path: Path, argument: Any) -> TensorSpec:
    if argument.type not in _DTYPES:
        raise ModelError(f'{path}: "{argument.name}" is {argument.type}; expected a tensor of numbers')
    return TensorSpec(name=argument.name, dtype=_DTYPES[argument.type], shape=_shape(argument.shape))


def _shape(sizes: Sequence[Any]) -> tuple[int, ...]:
    # A dimension without a number (a batch size, mostly) is run with 1.
    return tuple(size if isinstance(size, int) and size > 0 else 1 for size in sizes)


RUNTIME: Runtime = OnnxRuntime()
