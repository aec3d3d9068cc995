"""What a model's outputs are compared by: logits of class scores, everything else as it is."""

from dataclasses import dataclass

import onnx_ir as ir

from edgekit.graph.queries import attribute, produced_by, shape_of
from edgekit.graph.scores import find_scores

_MOVES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout")


@dataclass(frozen=True, slots=True)
class Outputs:
    """``logits``: the value that a softmax makes class scores of, None when the model is no classifier.

    ``binary``: one logit of a sigmoid instead. ``others``: float outputs that are compared by their squared error.
    """

    logits: str | None
    binary: bool
    others: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """All values, the logits first."""
        return [*([self.logits] if self.logits is not None else []), *self.others]


def find_outputs(model: ir.Model) -> Outputs:
    """Class scores by ``edgekit.graph.scores``; a Softmax or Sigmoid at the end is looked behind."""
    scores = find_scores(model)
    floats = [value for value in model.graph.outputs if value.dtype == ir.DataType.FLOAT]
    if scores is None or not scores.plausible:
        return Outputs(None, False, tuple(value.name or "" for value in floats))
    found = next(value for value in floats if value.name == scores.name)
    others = tuple(value.name or "" for value in floats if value is not found)
    logits = _before(found, "Sigmoid") if scores.threshold is not None else _before(found, "Softmax", "LogSoftmax")
    if scores.threshold is None and logits is found and _before(found, "Sigmoid") is not found:
        # Independent scores of several classes: no distribution.
        return Outputs(None, False, (found.name or "", *others))
    return Outputs(logits.name or "", scores.threshold is not None, others)


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
