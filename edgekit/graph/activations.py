"""Run the float graph and read the values inside it, in memory that does not grow."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.graph.onnxruntime import load_onnxruntime
from edgekit.graph.queries import shape_of
from edgekit.graph.storage import to_bytes

Arrays = dict[str, NDArray[Any]]
Sample = Mapping[str, NDArray[Any]]
T = TypeVar("T")


class ActivationReader:
    """Gives the values ``names`` of a model for a sample; computes only what they need. Several threads may read.

    Each thread has one set of arrays, which its next run overwrites: onnxruntime's own arena, filled with the outputs
    of runs that overlap by chance, grows by tens of megabytes now and then.
    """

    def __init__(self, model: ir.Model, names: Sequence[str]) -> None:
        self._inputs = [value.name or "" for value in model.graph.inputs]
        by_name = {value.name: value for node in model.graph for value in node.outputs}
        self._values = [by_name[name] for name in sorted(set(names) - set(self._inputs))]
        self._session = session_of(part(model, model.graph.inputs, self._values)) if self._values else None
        self._local = threading.local()

    def read(self, sample: Sample) -> Arrays:
        """The arrays by name, inputs of the model among them; valid until this thread reads again."""
        inputs = {name: np.ascontiguousarray(sample[name]) for name in self._inputs}
        if self._session is None:
            return inputs
        if not hasattr(self._local, "binding"):
            self._local.binding, self._local.outputs = self._bind()
        for name, array in inputs.items():
            self._local.binding.bind_cpu_input(name, array)
        self._session.run_with_iobinding(self._local.binding)
        outputs: Arrays = self._local.outputs
        return inputs | outputs

    def _bind(self) -> tuple[Any, Arrays]:
        assert self._session is not None
        binding, outputs = self._session.io_binding(), {}
        for value in self._values:
            assert value.dtype is not None
            array = np.empty(shape_of(value), value.dtype.numpy())
            binding.bind_output(value.name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
            outputs[value.name or ""] = array
        return binding, outputs


def read_samples(
    model: ir.Model,
    names: Sequence[str],
    samples: Iterable[Sample],
    analyze: Callable[[Sequence[NDArray[Any]]], T],
    workers: int,
) -> Iterator[T]:
    """What ``analyze`` makes of the arrays of the values ``names``, sample by sample, in the samples' order.

    Up to ``workers`` samples run side by side, one thread each; ``analyze`` runs there too, and must not keep the
    arrays. Raises ``DataError`` when a sample lacks an input.
    """
    inputs = [value.name or "" for value in model.graph.inputs]
    reader = ActivationReader(model, names)

    def task(sample: Sample) -> T:
        arrays = reader.read(sample)
        return analyze([arrays[name] for name in names])

    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[T]] = deque()
        for index, sample in enumerate(samples):
            missing = [name for name in inputs if name not in sample]
            if missing:
                raise DataError(f"calibration sample {index}: no array '{missing[0]}'; expected {', '.join(inputs)}")
            pending.append(pool.submit(task, sample))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def part(model: ir.Model, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value]) -> ir.Model:
    """A copy of what lies between ``inputs`` and ``outputs``; an input that is an initializer loses its value."""
    graph = ir.convenience.extract(model.graph, inputs, outputs)
    for value in graph.inputs:
        graph.initializers.pop(value.name or "", None)
        value.const_value = None
    functions = [function.clone() for function in model.functions.values()]
    return ir.Model(graph, ir_version=model.ir_version, functions=functions)


def session_of(model: ir.Model) -> Any:
    """An onnxruntime session; one thread per run makes its numbers reproducible."""
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(to_bytes(model), options, providers=["CPUExecutionProvider"])
