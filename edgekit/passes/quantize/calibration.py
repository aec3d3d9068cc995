"""Run the float graph on the calibration samples and record what its values do, in memory that does not grow."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.passes.quantize.assignment import assign, constant

Sample = Mapping[str, NDArray[np.generic]]
Progress = Callable[[int], None]


@dataclass(slots=True)
class ValueRange:
    """The smallest and largest number a value took over all samples."""

    minimum: float = np.inf
    maximum: float = -np.inf

    def update(self, array: NDArray[np.floating]) -> None:
        """Widen the range to hold ``array``."""
        if array.size:
            self.minimum = min(self.minimum, float(array.min()))
            self.maximum = max(self.maximum, float(array.max()))


@dataclass(frozen=True)
class Calibration:
    """What was observed, by value name of the canonical float model; serves every scheme."""

    ranges: Mapping[str, ValueRange]
    samples: int


def calibrate(model: ir.Model, samples: Iterable[Sample], progress: Progress | None = None) -> Calibration:
    """Observe every quantizable value of ``model`` (canonical, float) over ``samples``, each run exactly once.

    Args:
        model: the canonical float graph; not changed.
        samples: ``{input name: array}`` with the model's own shapes and dtypes, one inference each.
        progress: called with the number of samples done.

    Raises:
        DataError: there are no samples, or one makes a value NaN or infinite.
    """
    values = [value for value in assign(model).quantized_values() if constant(value) is None]
    names = [value.name or "" for value in values]
    session = _observing_session(model, [value for value in values if not value.is_graph_input()])
    outputs = [output.name for output in session.get_outputs()]
    ranges = {name: ValueRange() for name in names}
    count = 0
    for sample in samples:
        arrays = dict(zip(outputs, session.run(outputs, dict(sample)), strict=True))
        for name in names:
            ranges[name].update(np.asarray(arrays[name] if name in arrays else sample[name]))
            _require_finite(ranges[name], name, count)
        count += 1
        if progress is not None:
            progress(count)
    if count == 0:
        raise DataError("calibration data: no samples; static int8 needs at least one, better 100 or more")
    return Calibration(ranges, count)


def _require_finite(observed: ValueRange, name: str, index: int) -> None:
    if not (np.isfinite(observed.minimum) and np.isfinite(observed.maximum)):
        raise DataError(
            f"calibration sample {index}: value '{name}' becomes NaN or infinite; "
            "expected finite numbers: check the sample and its preprocessing"
        )


def _observing_session(model: ir.Model, values: list[ir.Value]):  # type: ignore[no-untyped-def]
    import onnxruntime

    observed = model.clone()
    by_name = {value.name: value for node in observed.graph for value in node.outputs}
    observed.graph.outputs[:] = [by_name[value.name] for value in values] or list(observed.graph.outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    proto = ir.to_proto(observed)
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
