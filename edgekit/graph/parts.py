"""What an output was joined of: a detector's boxes and scores in one tensor are two things with scales of their own."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.queries import attribute, is_constant, static_shape

MOST_PARTS = 16
"""An output of more operands is a sequence of steps: one thing."""

_LEAST_VARIANCE = 1e-10
"""Of the mean square: what varies less is rounding of a constant."""

_RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})


@dataclass(frozen=True, slots=True)
class Part:
    """``value`` is what is at ``places`` of the flat output, in the order of its own elements; None: all of it."""

    value: ir.Value
    places: NDArray[np.intp] | None = None


def find_parts(output: ir.Value, most: int | None = MOST_PARTS) -> list[Part]:
    """The operands of the Concats that make ``output``, behind what only moves elements; constants are left out.

    The output itself, whole, where nothing was joined, where there are more than ``most``, or a shape is open.
    """
    whole, shape = [Part(output)], static_shape(output)
    if shape is None or not _is_joined(output):
        return whole
    found = _parts(output, np.arange(int(np.prod(shape)), dtype=np.intp).reshape(shape))
    varying = [Part(value, places) for value, places in found if not is_constant(value) and places.size]
    return varying if len(varying) > 1 and (most is None or len(varying) <= most) else whole


def usual_square(variance: float, mean_square: float) -> float:
    """What squared errors of an output are relative to: its variance; its mean square, or 1, where it never varies."""
    return variance if variance > _LEAST_VARIANCE * mean_square else mean_square or 1.0


def _is_joined(value: ir.Value) -> bool:
    node = value.producer()
    while node is not None and node.op_type in (*_RESHAPES, "Transpose") and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node is not None and node.op_type == "Concat"


def _parts(value: ir.Value, places: NDArray[Any]) -> list[tuple[ir.Value, NDArray[np.intp]]]:
    node = value.producer()
    operands = [] if node is None else [each for each in node.inputs if each is not None]
    shapes = [static_shape(each) for each in operands]
    if node is not None and node.op_type == "Concat" and None not in shapes:
        axis = attribute(node, "axis")
        ends = np.cumsum([shape[axis] for shape in shapes if shape is not None])[:-1]
        split = np.split(places, ends.tolist(), axis=axis)
        return [part for each, own in zip(operands, split, strict=True) for part in _parts(each, own)]
    if node is not None and shapes and shapes[0] is not None:
        if node.op_type in _RESHAPES:
            return _parts(operands[0], places.reshape(shapes[0]))
        if node.op_type == "Transpose":
            order = attribute(node, "perm") or range(places.ndim)[::-1]
            return _parts(operands[0], places.transpose(np.argsort(list(order))))
    return [(value, places.reshape(-1))]
