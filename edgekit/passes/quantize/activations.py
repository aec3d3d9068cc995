"""Run the float graph and read the values inside it, in memory that does not grow."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.onnxruntime import load_onnxruntime
from edgekit.graph.queries import shape_of
from edgekit.graph.storage import to_bytes

Arrays = dict[str, NDArray[Any]]


class ActivationReader:
    """Gives the values ``names`` of a model for a sample; several threads may read at once.

    Each thread has one set of arrays, which its next run overwrites: onnxruntime's own arena, filled with the outputs
    of runs that overlap by chance, grows by tens of megabytes now and then.
    """

    def __init__(self, model: ir.Model, names: Sequence[str]) -> None:
        self._inputs = [value.name or "" for value in model.graph.inputs]
        by_name = {value.name: value for node in model.graph for value in node.outputs}
        self._values = [by_name[name] for name in sorted(set(names) - set(self._inputs))]
        self._session = _session(model, [value.name or "" for value in self._values])
        self._local = threading.local()

    def read(self, sample: Mapping[str, NDArray[Any]]) -> Arrays:
        """The arrays by name, inputs of the model among them; valid until this thread reads again."""
        inputs = {name: np.ascontiguousarray(sample[name]) for name in self._inputs}
        if not self._values:
            return inputs
        if not hasattr(self._local, "binding"):
            self._local.binding, self._local.outputs = self._bind()
        for name, array in inputs.items():
            self._local.binding.bind_cpu_input(name, array)
        self._session.run_with_iobinding(self._local.binding)
        outputs: Arrays = self._local.outputs
        return inputs | outputs

    def _bind(self) -> tuple[Any, Arrays]:
        binding, outputs = self._session.io_binding(), {}
        for value in self._values:
            assert value.dtype is not None
            array = np.empty(shape_of(value), value.dtype.numpy())
            binding.bind_output(value.name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
            outputs[value.name or ""] = array
        return binding, outputs


def _session(model: ir.Model, names: Sequence[str]) -> Any:
    """An onnxruntime session that gives the values ``names``; one thread per run makes its numbers reproducible."""
    onnxruntime = load_onnxruntime()
    observed = model.clone()
    by_name = {value.name: value for node in observed.graph for value in node.outputs}
    if names:
        observed.graph.outputs[:] = [by_name[name] for name in names]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(to_bytes(observed), options, providers=["CPUExecutionProvider"])
