"""What an output was joined of: a detector's boxes and scores in one tensor are two things with scales of their own."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.queries import attribute, is_constant, static_shape

MOST_PARTS = 16
"""An output of more operands is a sequence of steps: one thing."""

_RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})


@dataclass(frozen=True, slots=True)
class Part:
    """``value`` is what is at ``places`` [elements] of the flat output, in the order of its own elements."""

    value: ir.Value
    places: NDArray[np.intp]


def find_parts(output: ir.Value) -> list[Part]:
    """The operands of the Concats that make ``output``, behind what only moves elements; constants are left out.

    The output itself, whole, where nothing was joined, where there are more than MOST_PARTS, or a shape is open.
    """
    shape = static_shape(output)
    whole = [Part(output, np.arange(0 if shape is None else int(np.prod(shape)), dtype=np.intp))]
    if shape is None:
        return whole
    parts = _parts(output, whole[0].places.reshape(shape))
    varying = [part for part in parts if not is_constant(part.value) and part.places.size]
    return varying if 1 < len(varying) <= MOST_PARTS else whole


def _parts(value: ir.Value, places: NDArray[Any]) -> list[Part]:
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
    return [Part(value, places.reshape(-1))]
