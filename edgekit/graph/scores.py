"""Which output of a model holds class scores: the one definition for labels, top-1 and its agreement."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE})
_MOVES = frozenset(
    {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Cast", "Dropout", "DequantizeLinear"}
)
_PRODUCTS = frozenset({"Gemm", "MatMul", "Conv"})


@dataclass(frozen=True, slots=True)
class ClassScores:
    """An output of class scores, (batch, classes), or (batch, 1) with ``threshold``: class 1 is above it.

    ``plausible``: it looks like a classifier's even when no labels say so. Scores of a Softmax or a Sigmoid do, and
    logits: what a Gemm, a MatMul or a 1x1 map of a Conv gives, unless it is as large as an input (a reconstruction).
    An output that something else makes (pooled features, a normalized embedding, an image) does not. ``origin``: the
    op that computes the scores ("Softmax", "Gemm"), behind what only moves or converts them; "" where none does.
    """

    name: str
    classes: int
    threshold: float | None
    plausible: bool
    origin: str = ""

    def ranked(self, output: NDArray[Any]) -> NDArray[Any]:
        """One column per class, of what the model gave."""
        if self.threshold is None:
            return output
        return np.concatenate([np.full_like(output, self.threshold), output], axis=1)


def find_scores(model: ir.Model) -> ClassScores | None:
    """The only float output (batch, two classes or more); of several, the only one of a Softmax or Sigmoid.

    A model whose only output is (batch, 1) is a binary classifier: above 0.5 after a Sigmoid, above 0 for a logit.
    """
    graph = model.graph
    matrices = [value for value in graph.outputs if value.dtype in FLOATS and len(_sizes(value)) == 2]
    found = [value for value in matrices if _sizes(value)[1] >= 2]
    if len(found) > 1:
        found = [value for value in found if _op_type(origin_of(value)) in ("Softmax", "LogSoftmax", "Sigmoid")]
    if len(found) == 1:
        (scores,) = found
        plausible = _looks_like_classes(scores, graph.inputs)
        return ClassScores(scores.name or "", _sizes(scores)[1], None, plausible, _op_type(origin_of(scores)))
    if len(graph.outputs) == 1 and matrices and _sizes(matrices[0])[1] == 1:
        (output,) = matrices
        origin = _op_type(origin_of(output))
        threshold = 0.5 if origin in ("Sigmoid", "HardSigmoid") else 0.0
        return ClassScores(output.name or "", 2, threshold, plausible=origin == "Sigmoid", origin=origin)
    return None


def _sizes(value: ir.Value) -> tuple[int, ...]:
    return () if value.shape is None else tuple(size if isinstance(size, int) else 0 for size in value.shape)


def origin_of(value: ir.Value) -> ir.Node | None:
    """The node that computes ``value``, behind what only moves it."""
    node = value.producer()
    while node is not None and node.op_type in _MOVES and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node


def _op_type(node: ir.Node | None) -> str:
    return "" if node is None else node.op_type


def _looks_like_classes(output: ir.Value, inputs: Sequence[ir.Value]) -> bool:
    if any(np.prod(_sizes(output)) == np.prod(_sizes(value)) for value in inputs):
        return False
    node = origin_of(output)
    if node is not None and node.op_type == "Sigmoid" and node.inputs[0] is not None:
        node = origin_of(node.inputs[0])
    if node is not None and node.op_type == "Add":
        products = [found for value in node.inputs if value is not None and (found := origin_of(value)) is not None]
        node = products[0] if len(products) == 1 else None
    if node is None:
        return False
    if node.op_type in ("Softmax", "LogSoftmax"):
        return True
    return node.op_type in _PRODUCTS and all(size == 1 for size in _sizes(node.outputs[0])[2:])
