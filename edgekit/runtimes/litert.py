"""LiteRT (the successor of tflite-runtime), with XNNPACK as it is by default."""

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edgekit.errors import DependencyError, ModelError
from edgekit.interface import Precision, TensorSpec
from edgekit.runtimes import Array, Delegation, Fallback, Runtime, Session

# Boards with an old Python have only tflite-runtime; its interpreter is the same class.
_PACKAGES = {"ai_edge_litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime"}

# Measured with ai-edge-litert 2.3: quantized operations for which XNNPACK has no kernel.
_FLOAT_ONLY = frozenset(
    {
        "ABS",
        "ARG_MAX",
        "AVERAGE_POOL_2D",
        "DIV",
        "EXP",
        "GATHER",
        "GELU",
        "HARD_SWISH",
        "MAXIMUM",
        "MINIMUM",
        "MIRROR_PAD",
        "PACK",
        "RESIZE_NEAREST_NEIGHBOR",
        "RSQRT",
        "SOFTMAX",
        "SQUARED_DIFFERENCE",
    }
)


def _installed_package() -> str:
    for module, package in _PACKAGES.items():
        if importlib.util.find_spec(module) is not None:
            return package
    raise DependencyError("TFLite needs a LiteRT interpreter, and none is installed: pip install ai-edge-litert")


def _interpreter_module() -> ModuleType:
    package = _installed_package()
    module = next(name for name, of in _PACKAGES.items() if of == package)
    return importlib.import_module(f"{module}.interpreter")


class LiteRtRuntime:
    """Runs ``.tflite`` files."""

    format = "tflite"
    name = "litert"
    package = "ai-edge-litert"

    def version(self) -> str:
        """The version of ai-edge-litert, or of tflite-runtime where only that is installed."""
        return importlib.metadata.version(_installed_package())

    def load(self, path: Path, threads: int, precision: Precision | None = None) -> Session:
        """Load ``path``; see :meth:`edgekit.runtimes.Runtime.load`."""
        module = _interpreter_module()
        try:
            interpreter = module.Interpreter(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{path}: LiteRT cannot load this file: {_one_line(error)}; export it again") from error
        return LiteRtSession(interpreter, precision)


class LiteRtSession:
    """One interpreter. Inputs and outputs carry the signature's names where the file has a signature."""

    def __init__(self, interpreter: Any, precision: Precision | None = None) -> None:
        self._precision = precision
        self._interpreter = interpreter
        signature = _first_signature(interpreter)
        self._input_details = interpreter.get_input_details()
        self._output_details = interpreter.get_output_details()
        self.inputs = _specs(self._input_details, signature.get("inputs", {}))
        self.outputs = _specs(self._output_details, signature.get("outputs", {}))

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; raises ValueError for a wrong dtype or shape and RuntimeError when a kernel fails."""
        for spec, detail in zip(self.inputs, self._input_details, strict=True):
            self._interpreter.set_tensor(detail["index"], feeds[spec.name])
        self._interpreter.invoke()
        return {
            spec.name: self._interpreter.get_tensor(detail["index"])
            for spec, detail in zip(self.outputs, self._output_details, strict=True)
        }

    def delegation(self) -> Delegation | None:
        """Which operations of the file XNNPACK took; None for an interpreter that does not list its operations."""
        list_ops = getattr(self._interpreter, "_get_ops_details", None)
        if list_ops is None:
            return None
        tensors = {int(detail["index"]): detail for detail in self._interpreter.get_tensor_details()}
        return _delegation(list_ops(), tensors, wants_int8=self._precision is Precision.INT8)

    def close(self) -> None:
        """Free the interpreter."""
        self._interpreter = None


def _first_signature(interpreter: Any) -> dict[str, dict[str, int]]:
    signatures: dict[str, dict[str, dict[str, int]]] = interpreter._get_full_signature_list()
    return next(iter(signatures.values()), {})


def _specs(details: Sequence[Mapping[str, Any]], signature: Mapping[str, int]) -> tuple[TensorSpec, ...]:
    names: dict[int, list[str]] = {}
    for name, index in signature.items():
        names.setdefault(int(index), []).append(name)
    return tuple(_spec(detail, names.get(int(detail["index"]), [])) for detail in details)


def _spec(detail: Mapping[str, Any], names: list[str]) -> TensorSpec:
    # Two outputs may be the same tensor under two signature names: each takes one.
    name = names.pop(0) if names else str(detail["name"])
    scales = detail["quantization_parameters"]["scales"]
    zero_points = detail["quantization_parameters"]["zero_points"]
    quantized = len(scales) == 1 and np.issubdtype(detail["dtype"], np.integer)
    return TensorSpec(
        name=name,
        dtype=np.dtype(detail["dtype"]).name,
        shape=tuple(int(size) for size in detail["shape"]),
        scale=float(scales[0]) if quantized else None,
        zero_point=int(zero_points[0]) if quantized else None,
    )


def _delegation(
    ops: Sequence[Mapping[str, Any]], tensors: Mapping[int, Mapping[str, Any]], *, wants_int8: bool
) -> Delegation:
    """Split the file's operations by whether a DELEGATE node covers them.

    The interpreter appends its DELEGATE nodes to the file's own list. Such a node covers what lies between its inputs
    and its outputs. What computes in float in an int8 file is not accelerated, whoever takes it.
    """
    own = [op for op in ops if op["op_name"] != "DELEGATE"]
    producer = {int(tensor): op for op in own for tensor in op["outputs"]}
    covered: set[int] = set()
    for delegate in ops:
        if delegate["op_name"] == "DELEGATE":
            covered |= _covered(delegate, producer)
    if wants_int8:
        covered -= {int(op["index"]) for op in own if _computes_in_float(op, tensors)}
    fallback = tuple(_fallback(op, tensors, wants_int8) for op in own if int(op["index"]) not in covered)
    return Delegation(accelerated_ops=len(covered), total_ops=len(own), fallback=fallback)


def _covered(delegate: Mapping[str, Any], producer: Mapping[int, Mapping[str, Any]]) -> set[int]:
    border = _indices(delegate["inputs"])
    pending = list(_indices(delegate["outputs"]) - border)
    found: set[int] = set()
    while pending:
        op = producer.get(pending.pop())
        if op is None or int(op["index"]) in found:
            continue
        found.add(int(op["index"]))
        pending.extend(_indices(op["inputs"]) - border)
    return found


def _indices(tensors: Iterable[Any]) -> set[int]:
    # -1 stands for an optional input that is absent.
    return {int(tensor) for tensor in tensors if int(tensor) >= 0}


def _computes_in_float(op: Mapping[str, Any], tensors: Mapping[int, Mapping[str, Any]]) -> bool:
    if op["op_name"] in ("QUANTIZE", "DEQUANTIZE"):
        return False
    used = _indices(op["inputs"]) | _indices(op["outputs"])
    return any(index in tensors and np.dtype(tensors[index]["dtype"]) == np.float32 for index in used)


def _fallback(op: Mapping[str, Any], tensors: Mapping[int, Mapping[str, Any]], wants_int8: bool) -> Fallback:
    name = str(op["op_name"])
    output = tensors[int(op["outputs"][0])]
    dtype = np.dtype(output["dtype"]).name
    if name in _FLOAT_ONLY and dtype in ("int8", "uint8"):
        reason = f"XNNPACK has no {dtype} kernel for it"
    elif wants_int8 and _computes_in_float(op, tensors):
        reason = "runs in float"
    else:
        reason = f"XNNPACK did not take it ({dtype})"
    return Fallback(op=name, node=str(output["name"]), reason=reason)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


RUNTIME: Runtime = LiteRtRuntime()
