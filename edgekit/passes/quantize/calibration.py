"""Run the float graph on the calibration samples and record what its values do, in memory that does not grow.

Two passes, each of which runs every sample once: ranges and histograms first, then, on the codes that follow from them,
the moments that GPTQ and bias correction need. Samples run side by side, one thread each; every sum is exact, so
neither their order nor the number of processors changes a bit of the result.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import DataError, UsageError
from edgekit.graph.activations import Sample, read_samples
from edgekit.passes.quantize.assignment import Assignment, Group, assign, constant
from edgekit.passes.quantize.moments import Moments, RowSums, observable_weights
from edgekit.passes.quantize.observers import Observed, Observer, minmax_range, mse_range
from edgekit.passes.quantize.qparams import QParams, choose_qparams

Advance = Callable[[int], None]
ObserverName = Literal["minmax", "mse"]

_RANGE = {"minmax": minmax_range, "mse": mse_range}
_MOST_WORKERS = 8


@dataclass(frozen=True)
class Calibration:
    """What was observed; serves every scheme of the same canonical model.

    ``observers`` by value name; ``moments`` by node name, of the inputs of that node's weight.
    """

    observers: Mapping[str, Observer]
    samples: int
    moments: Mapping[str, Moments] = field(default_factory=dict)

    def group_qparams(self, group: Group, observer: ObserverName) -> QParams:
        """The parameters of a group of values with one scale: its fixed ones, or those of all that was seen."""
        if group.fixed is not None:
            return group.fixed
        seen = [self._observer(value) for value in group.members]
        merged = seen[0]
        for other in seen[1:]:
            merged = merged.merged(other)
        return choose_qparams(*_RANGE[observer](merged))

    def span(self, value: ir.Value) -> float | None:
        """The largest magnitude that was seen; None of what nobody observed."""
        seen = self.observers.get(value.name or "")
        return None if seen is None else max(-seen.minimum, seen.maximum)

    def _observer(self, value: ir.Value) -> Observer:
        tensor = constant(value)
        return self.observers[value.name or ""] if tensor is None else Observer.of(tensor.numpy())


def calibrate(
    model: ir.Model,
    samples: Iterable[Sample],
    advance: Advance | None = None,
    *,
    observer: ObserverName = "mse",
    moments: bool = True,
    float_ops: Collection[tuple[str, ...]] = ((),),
) -> Calibration:
    """Observe every quantizable value of the canonical float ``model`` over ``samples``.

    Args:
        model: not changed.
        samples: ``{input name: array}`` with the model's own shapes and dtypes, one inference each. Iterated twice when
            ``moments`` are wanted; each pass runs each sample exactly once.
        advance: called as samples are done, with the number done since the last call; all sum to the samples' number.
        observer: what gives the activations their ranges in the second pass; schemes with another still fit.
        moments: whether a scheme will round by GPTQ or correct biases.
        float_ops: those of every scheme that the calibration is to serve.

    Raises:
        DataError: there are no samples, a sample lacks an input, or one makes a value NaN or infinite.
        UsageError: ``samples`` is an iterator, which can be read only once.
    """
    if isinstance(samples, Iterator):
        raise UsageError("samples is an iterator, which can be read only once; pass a list or an object with __iter__")
    report = _halved(advance) if moments else (advance or (lambda steps: None))
    assignments = [assign(model, types) for types in dict.fromkeys(float_ops)]
    observers, count = _observe(model, assignments, samples, report)
    calibration = Calibration(observers, count)
    if not moments:
        return calibration
    return Calibration(observers, count, _collect_moments(model, assignments, samples, calibration, observer, report))


def _halved(advance: Advance | None) -> Advance:
    """Reports every second step: two passes over the samples are shown as one."""
    done = 0

    def report(steps: int) -> None:
        nonlocal done
        for _ in range(steps):
            done += 1
            if advance is not None and done % 2 == 0:
                advance(1)

    return report


def _observe(
    model: ir.Model, assignments: Sequence[Assignment], samples: Iterable[Sample], advance: Advance
) -> tuple[dict[str, Observer], int]:
    wanted = (value for assignment in assignments for value in assignment.quantized_values())
    values = {value.name or "": value for value in wanted if constant(value) is None}
    names = list(values)
    observers = {name: Observer() for name in names}
    count = 0
    for observed in read_samples(model, names, samples, _observed, _workers()):
        for name, seen in zip(names, observed, strict=True):
            if not (np.isfinite(seen.minimum) and np.isfinite(seen.maximum)):
                raise _not_finite(values[name], count)
            observers[name].update(seen)
        count += 1
        advance(1)
    if count == 0:
        raise DataError("calibration data: no samples; static int8 needs at least one, better 100 or more")
    return observers, count


def _observed(arrays: Sequence[NDArray[np.float32]]) -> list[Observed]:
    return [Observed.of(array) for array in arrays]


def _workers() -> int:
    return min(os.cpu_count() or 1, _MOST_WORKERS)


def _not_finite(value: ir.Value, sample: int) -> DataError:
    node = value.producer()
    source, remedy = "", ""
    if node is not None:
        source = f", made by {node.op_type} node '{node.name}'"
        remedy = f', or add "{node.op_type}" to float_ops in the target profile'
    return DataError(
        f"calibration sample {sample}: value '{value.name}' is NaN or infinite{source}; "
        f"expected finite numbers: check the sample and its preprocessing{remedy}"
    )


def _collect_moments(
    model: ir.Model,
    assignments: Sequence[Assignment],
    samples: Iterable[Sample],
    calibration: Calibration,
    observer: ObserverName,
    advance: Advance,
) -> dict[str, Moments]:
    chosen: dict[int, QParams] = {}
    collected: dict[str, Moments] = {}
    sources: list[str] = []
    weights = ((each, *found) for each in assignments for found in observable_weights(each))
    for assignment, node, source in weights:
        if (node.name or "") in collected:
            continue
        group = assignment.groups[source]
        if id(group) not in chosen:
            chosen[id(group)] = calibration.group_qparams(group, observer)
        collected[node.name or ""] = Moments.of(node, chosen[id(group)], calibration.samples)
        sources.append(source.name or "")
    if not collected:
        return {}
    moments = list(collected.values())

    def rows(arrays: Sequence[NDArray[np.float32]]) -> list[RowSums]:
        return [moment.rows_of(array) for moment, array in zip(moments, arrays, strict=True)]

    for sums in read_samples(model, sources, samples, rows, _workers()):
        for moment, added in zip(moments, sums, strict=True):
            moment.update(added)
        advance(1)
    for moment in moments:
        moment.flush()
    return collected
