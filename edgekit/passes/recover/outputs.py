"""What a model's outputs are compared by: logits of class scores, everything else as it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgekit.graph.decisions import find_decided
from edgekit.graph.parts import find_parts
from edgekit.graph.queries import attribute, produced_by, shape_of
from edgekit.graph.scores import find_scores

_MOVES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout")


@dataclass(frozen=True, slots=True)
class Outputs:
    """``logits``: the value that a softmax makes class scores of, None when the model is no classifier.

    ``binary``: one logit of a sigmoid instead. ``others``: what is compared by its squared error: float outputs, or
    what a Concat joins to one (a detector's boxes and scores), each by its own; scores among that before the Sigmoid;
    and what outputs of other types were decided by (an ArgMax's scores).
    """

    logits: str | None
    binary: bool
    others: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """All values, the logits first."""
        return [*([self.logits] if self.logits is not None else []), *self.others]


def find_outputs(model: ir.Model, *, joined: bool = True) -> Outputs:
    """Class scores by ``edgekit.graph.scores``; a Softmax or Sigmoid at the end is looked behind.

    ``joined``: look behind a Concat at the end, too.
    """
    scores = find_scores(model)
    floats = [value for value in model.graph.outputs if value.dtype == ir.DataType.FLOAT] + find_decided(model)
    if scores is None or not scores.plausible:
        return Outputs(None, False, _others(floats, joined=joined))
    found = next(value for value in floats if value.name == scores.name)
    others = _others([value for value in floats if value is not found], joined=joined)
    logits = _before(found, "Sigmoid") if scores.threshold is not None else _before(found, "Softmax", "LogSoftmax")
    if scores.threshold is None and logits is found and _before(found, "Sigmoid") is not found:
        # Independent scores of several classes: no distribution.
        return Outputs(None, False, (found.name or "", *others))
    return Outputs(logits.name or "", scores.threshold is not None, others)


def find_both_outputs(student: ir.Model, teacher: ir.Model) -> tuple[Outputs, Outputs]:
    """Of each, in the same order: what makes an output may have another name in a network that has lost branches."""
    for joined in (True, False):
        given, taught = (find_outputs(model, joined=joined) for model in (student, teacher))
        if (given.logits is None, given.binary, len(given.others)) == (
            (taught.logits is None, taught.binary, len(taught.others))
        ):
            return given, taught
    plain = tuple(value.name or "" for value in teacher.graph.outputs if value.dtype == ir.DataType.FLOAT)
    return Outputs(None, False, plain), Outputs(None, False, plain)


def _others(outputs: Sequence[ir.Value], *, joined: bool) -> tuple[str, ...]:
    """Names of the outputs, or of what makes them when that is several values."""
    names: list[str] = []
    for output in outputs:
        parts = [part.value for part in find_parts(output)] if joined else [output]
        values = parts if len(parts) == 1 else [_before(value, "Sigmoid") for value in parts]
        names += [value.name or "" for value in values]
    return tuple(names)


def _before(output: ir.Value, *op_types: str) -> ir.Value:
    """The input of the Softmax (over the last axis) or Sigmoid that makes ``output``, else ``output`` itself."""
    value = output
    while (move := produced_by(value, *_MOVES)) is not None and move.inputs[0] is not None:
        value = move.inputs[0]
    node = produced_by(value, *op_types)
    if node is None or node.inputs[0] is None:
        return output
    axis = attribute(node, "axis") if node.op_type != "Sigmoid" else -1
    return node.inputs[0] if axis % len(shape_of(value)) == len(shape_of(value)) - 1 else output
