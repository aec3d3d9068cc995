"""What has an error of its own: every output, and every operand of the Concats that made it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.parts import Part, find_parts
from edgekit.graph.queries import static_shape
from edgekit.graph.scores import FLOATS, origin_of
from edgekit.runtimes import Array

_SCORES = frozenset({"Softmax", "Sigmoid", "HardSigmoid"})


@dataclass(frozen=True, eq=False, slots=True)
class OutputPart:
    """``places`` [elements] of the flat ``output``, None for all of it; ``place`` is what they are called.

    ``scores``: numbers in 0..1, as a Softmax or a Sigmoid gives them.
    """

    output: str
    place: str
    scores: bool
    places: NDArray[np.intp] | None

    def of(self, outputs: Mapping[str, Array]) -> Array:
        """Its elements."""
        whole = outputs[self.output]
        return whole if self.places is None else whole.reshape(-1)[self.places]


def split_outputs(model: ir.Model) -> tuple[OutputPart, ...]:
    """The parts of all outputs of numbers in float; none where one is the whole. Class numbers have no SQNR of use."""
    found = [part for output in model.graph.outputs if output.dtype in FLOATS for part in _split(output)]
    return tuple(found) if len(found) > 1 or len(model.graph.outputs) > 1 else ()


def _split(output: ir.Value) -> list[OutputPart]:
    name, parts = output.name or "", find_parts(output)
    return [OutputPart(name, _spell_place(part, output), _is_scores(part.value), part.places) for part in parts]


def _spell_place(part: Part, output: ir.Value) -> str:
    if part.places is None:
        return ""
    return _spell(part.places, static_shape(output) or ()) or f"[{part.value.name}]"


def _is_scores(value: ir.Value) -> bool:
    origin = origin_of(value)
    return origin is not None and origin.op_type in _SCORES


def _spell(places: NDArray[np.intp], shape: tuple[int, ...]) -> str:
    """``[:, 4:84]``, as numpy writes it; "" where they are no slice."""
    indices = np.unravel_index(places, shape)
    ranges = [(int(index.min()), int(index.max()) + 1) for index in indices]
    if np.prod([end - start for start, end in ranges]) != places.size:
        return ""
    spelt = [
        ":" if (start, end) == (0, size) else f"{start}:{end}" for (start, end), size in zip(ranges, shape, strict=True)
    ]
    while len(spelt) > 1 and spelt[-1] == ":":
        spelt.pop()
    return f"[{', '.join(spelt)}]"
