"""MNN on its CPU backend."""

import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import DependencyError, ModelError
from edgekit.interface import Precision, TensorSpec
from edgekit.runtimes import Array, Delegation, Fallback, Runtime, Session
from edgekit.runtimes.mnn_file import MnnFile

# MNN silently ignores these settings when they are not integers. Precision 1 is "high": float32 stays float32 on ARM.
_PRECISION_HIGH = 1
_MEMORY_LOW = 2
_NO_ERROR = 0

_INT8 = "DT_INT8"
# Copies and casts between layouts and types; they calculate nothing.
_CONVERSIONS = frozenset({"Raster", "FloatToInt8", "Int8ToFloat", "Cast", "Const", "Input", "ConvertTensor"})


class MnnRuntime:
    """Runs ``.mnn`` files; int8-dynamic ones with int8 weights and activations quantized as they come."""

    format = "mnn"
    name = "mnn"
    package = "MNN"

    def version(self) -> str:
        """The version of the installed MNN."""
        if importlib.util.find_spec("MNN") is None:
            raise DependencyError("MNN files need MNN, which is not installed: pip install MNN")
        return importlib.metadata.version(self.package)

    def load(self, path: Path, threads: int, precision: Precision | None = None) -> Session:
        """Load ``path``; see :meth:`edgekit.runtimes.Runtime.load`."""
        self.version()
        # MNN crashes on files that are not its own.
        file = MnnFile(path.read_bytes(), path)
        return MnnSession(path, file, threads, precision)


class MnnSession:
    """One interpreter with one session, its inputs and outputs in the file's order."""

    def __init__(self, path: Path, file: MnnFile, threads: int, precision: Precision | None = None) -> None:
        import MNN

        settings = {"backend": "CPU", "numThread": threads, "precision": _PRECISION_HIGH}
        if precision is Precision.INT8_DYNAMIC:
            settings["memory"] = _MEMORY_LOW
        self._mnn = MNN
        self._precision = precision
        self._interpreter = MNN.Interpreter(str(path))
        self._session = self._interpreter.createSession(settings)
        self._inputs = _in_order(self._interpreter.getSessionInputAll(self._session), file.inputs)
        self._outputs = _in_order(self._interpreter.getSessionOutputAll(self._session), file.outputs)
        self._nodes = [operation.name for operation in file.operations]
        self._dtypes = {
            MNN.Halide_Type_Float: "float32",
            MNN.Halide_Type_Int: "int32",
            MNN.Halide_Type_Uint8: "uint8",
            MNN.Halide_Type_Int64: "int64",
        }
        self.inputs = tuple(self._spec(path, name, tensor) for name, tensor in self._inputs.items())
        self.outputs = tuple(self._spec(path, name, tensor) for name, tensor in self._outputs.items())
        if not self.outputs:
            raise ModelError(f"{path}: MNN finds no outputs in this file; export it again")

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; raises ValueError for a wrong shape and RuntimeError when a kernel fails."""
        self._feed(feeds)
        code = self._interpreter.runSession(self._session)
        if code != _NO_ERROR:
            raise RuntimeError(f"MNN failed to run the model: error code {code}")
        return {spec.name: self._read(spec) for spec in self.outputs}

    def delegation(self) -> Delegation | None:
        """Which operations run in int8, found by running once on zeros. In a file without any, float is as asked."""
        self._feed({spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.inputs})
        executed: list[tuple[str, str]] = []

        def record(tensors: Sequence[Any], operation: Any) -> bool:
            executed.append((operation.getName(), operation.getType().strip()))
            return True

        self._interpreter.runSessionWithCallBackInfo(self._session, lambda tensors, operation: True, record)
        return _delegation(executed, wants_int8=self._precision is Precision.INT8)

    def close(self) -> None:
        """Free the session and the interpreter."""
        self._inputs = self._outputs = {}
        self._session = self._interpreter = None

    def _spec(self, path: Path, name: str, tensor: Any) -> TensorSpec:
        dtype, shape = self._dtypes.get(tensor.getDataType()), tuple(int(size) for size in tensor.getShape())
        if dtype is None or any(size <= 0 for size in shape):
            raise ModelError(
                f'{path}: MNN gives "{name}" the shape {shape} and no type that it can run; export it again'
            )
        return TensorSpec(name=name, dtype=dtype, shape=shape)

    def _feed(self, feeds: Mapping[str, Array]) -> None:
        for spec in self.inputs:
            array = np.asarray(feeds[spec.name], dtype=spec.dtype, order="C")
            if array.shape != spec.shape:
                raise ValueError(f'input "{spec.name}" has shape {array.shape}; the file wants {spec.shape}')
            tensor = self._inputs[spec.name]
            # Whatever layout MNN chose inside, this one is plain row-major.
            layout = self._mnn.Tensor_DimensionType_Caffe
            host = self._mnn.Tensor(array.shape, tensor.getDataType(), array, layout)
            tensor.copyFrom(host)

    def _read(self, spec: TensorSpec) -> Array:
        tensor = self._outputs[spec.name]
        buffer = np.zeros(spec.shape, spec.dtype)
        host = self._mnn.Tensor(spec.shape, tensor.getDataType(), buffer, self._mnn.Tensor_DimensionType_Caffe)
        tensor.copyToHostTensor(host)
        return np.array(host.getNumpyData(), copy=True).reshape(spec.shape)


def _in_order(tensors: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    # MNN sorts them by name; unused inputs have no tensor.
    return {name: tensors[name] for name in names if name in tensors} or dict(tensors)


def _delegation(executed: Sequence[tuple[str, str]], *, wants_int8: bool) -> Delegation:
    operations = [(name, kind) for name, kind in executed if kind.split()[0] not in _CONVERSIONS]
    integer = [kind for _, kind in operations if _INT8 in kind]
    if not integer and not wants_int8:
        return Delegation(len(operations), len(operations))
    fallback = tuple(
        Fallback(op=kind, node=name, reason="MNN runs it in float") for name, kind in operations if _INT8 not in kind
    )
    return Delegation(len(integer), len(operations), fallback)


RUNTIME: Runtime = MnnRuntime()
