"""What a change of the outputs costs: KL divergence of class scores, or the outputs' relative squared error."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.parts import Part, find_parts, usual_square
from edgekit.graph.queries import is_floating, static_shape
from edgekit.graph.scores import ClassScores, find_scores

Rows = NDArray[Any]
"""[samples, width], float32 or float64; a change of rows has the same shape."""

MOST_WIDTH = 1024
"""Of outputs that are no class scores this many elements are compared: prices need no more, and many are kept."""

_LEAST_PROBABILITY = 1e-12
_LEAST_SCORE = 1e-6
"""Of a detector's scores: what is less likely is nothing."""
_SIGMOIDS = ("Sigmoid", "HardSigmoid")
_TAKES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Transpose", "Split", "Slice"})
_SEED = 0


class Comparison(Protocol):
    """The loss of changes of fixed ``reference`` rows."""

    reference: Rows

    def losses(self, changes: NDArray[Any]) -> NDArray[np.float64]:
        """[moves] of ``changes`` [moves, samples, width]: each alone added to the reference rows."""
        ...

    def expand(self, change: Rows, moves: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Slope [moves] and curvature [moves, moves] of the loss where the rows have changed by ``change``.

        loss(change + sum of some moves) is about loss(change) + sum of slopes + half the sum of their curvatures.
        """
        ...


class OutputLoss:
    """Compares outputs with the float model's, on rows that ``row`` makes of one sample's outputs.

    Of a classifier with one output of floats (edgekit.graph.scores) a row is the logits (log-probabilities after a
    Softmax), and the loss is the mean of KL(softmax(float) || softmax(changed)), of independent yes and no after a
    Sigmoid. Of anything else it is the mean over outputs of the squared error divided by the float output's variance;
    what a Concat joins to one output (a detector's boxes and scores) counts as several, and scores of a Sigmoid among
    that are compared as logits: nearly all are nearly 0. Changes of rows may be added: that is what the search does.
    """

    def __init__(self, model: ir.Model) -> None:
        self._outputs = [index for index, value in enumerate(model.graph.outputs) if is_floating(value)]
        scores = find_scores(model) if len(self._outputs) == 1 else None
        self._scores = scores if scores is not None and scores.plausible else None
        self._parts: list[tuple[int, Part, bool]] = []
        for index in self._outputs if self._scores is None else []:
            parts = find_parts(model.graph.outputs[index])
            self._parts += [(index, part, len(parts) > 1 and _is_probability(part.value)) for part in parts]
        self._picked = _pick([part for _, part, _ in self._parts])

    @property
    def name(self) -> str:
        """For people: what the numbers are."""
        return "KL (nats)" if self._scores is not None else "relative squared error"

    def row(self, outputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """[width] for one sample; large outputs are subsampled by a fixed pattern."""
        if self._scores is not None:
            return _logits(outputs[self._outputs[0]], self._scores.origin).astype(np.float32).reshape(-1)
        chosen = [np.zeros(0)]
        for (index, _, are_scores), picked in zip(self._parts, self._picked, strict=True):
            given = outputs[index].reshape(-1)[picked]
            chosen.append(_logits(given, "Sigmoid", _LEAST_SCORE) if are_scores else given)
        return np.concatenate(chosen).astype(np.float32)

    def loss(self, reference: Rows, changed: Rows) -> float:
        """Of rows [samples, width], in float64."""
        exact = reference.astype(np.float64)
        return float(self.against(exact).losses((changed - exact)[None])[0])

    def against(self, reference: Rows, everything: Rows | None = None) -> Comparison:
        """The loss of changes of ``reference``, which may be a few rows of ``everything``: that tells what varies."""
        if self._scores is None:
            widths = [len(picked) for picked in self._picked]
            return SquaredError(reference, widths, everything)
        if _is_binary(self._scores):
            return BernoulliKL(reference)
        return CategoricalKL(reference, self._scores.classes)


class CategoricalKL:
    """KL(p || q) of softmaxes: with rows d added to the logits of p, log of the sum of p exp(d), less the mean of d."""

    def __init__(self, reference: Rows, classes: int) -> None:
        self.reference = reference
        self._classes = classes
        self._log_p = _log_softmax(self._folded(reference))
        self._p = np.exp(self._log_p)

    def losses(self, changes: NDArray[Any]) -> NDArray[np.float64]:
        """[moves] of ``changes`` [moves, samples, width]."""
        return np.array([self._loss(self._folded(change)) for change in changes], np.float64)

    def _loss(self, change: NDArray[Any]) -> float:
        logits = self._log_p.astype(change.dtype) + change
        peak = logits.max(axis=1)
        logits -= peak[:, None]
        total = np.exp(logits, out=logits).sum(axis=1, dtype=np.float64)
        mean = np.einsum("nw,nw->n", self._p.astype(change.dtype), change)
        return float((np.log(total) + peak - mean).mean())

    def expand(self, change: Rows, moves: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The slope is the mean of (q - p) d, the curvature the covariance of the moves under q."""
        q = np.exp(_log_softmax(self._log_p + self._folded(change)))
        slope, curvature = np.zeros(len(moves)), np.zeros((len(moves), len(moves)))
        folded = moves.reshape(len(moves), -1, self._classes)
        for row in range(len(q)):
            each = folded[:, row].astype(np.float64)
            slope += each @ (q[row] - self._p[row])
            centered = (each - (each @ q[row])[:, None]) * np.sqrt(q[row])
            curvature += centered @ centered.T
        return slope / len(q), curvature / len(q)

    def _folded(self, rows: Rows) -> NDArray[Any]:
        return rows.reshape(-1, self._classes)


class BernoulliKL:
    """The sum over columns of the KL of yes and no, with rows of logits."""

    def __init__(self, reference: Rows) -> None:
        self.reference = reference
        self._p = _sigmoid(reference.astype(np.float64))

    def losses(self, changes: NDArray[Any]) -> NDArray[np.float64]:
        """[moves] of ``changes`` [moves, samples, width]."""
        before = np.logaddexp(0, self.reference)
        terms = np.logaddexp(0, self.reference + changes) - before - self._p * changes
        return np.asarray(terms.sum(axis=2).mean(axis=1), np.float64)

    def expand(self, change: Rows, moves: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See Comparison: the curvature is diagonal, q (1 - q)."""
        q = _sigmoid(self.reference + change)
        return _expand_diagonal(q - self._p, q * (1 - q), moves, len(q))


class SquaredError:
    """The mean over outputs of the squared error over the output's variance.

    ``widths`` are columns of each output; the variance is that of ``everything``, the rows of ``reference`` where None.
    """

    def __init__(self, reference: Rows, widths: Sequence[int], everything: Rows | None = None) -> None:
        self.reference = reference
        everything = reference if everything is None else everything
        weights, start = [], 0
        for width in widths:
            part = everything[:, start : start + width].astype(np.float64)
            scale = usual_square(float(part.var()), float(np.square(part).mean()))
            weights.append(np.full(width, 1 / (scale * width * len(widths))))
            start += width
        self._weights = np.concatenate([np.zeros(0), *weights])

    def losses(self, changes: NDArray[Any]) -> NDArray[np.float64]:
        """[moves] of ``changes`` [moves, samples, width]."""
        return np.asarray((np.square(changes) @ self._weights).mean(axis=1), np.float64)

    def expand(self, change: Rows, moves: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Exact: the loss is quadratic."""
        weights = np.broadcast_to(2 * self._weights, change.shape)
        return _expand_diagonal(weights * change, weights, moves, len(change))


def _expand_diagonal(
    gradient: Rows, curvature: Rows, moves: NDArray[Any], samples: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    flat = moves.reshape(len(moves), -1).astype(np.float64)
    bent = flat * np.sqrt(curvature.reshape(-1))
    return flat @ gradient.reshape(-1) / samples, bent @ bent.T / samples


def _pick(parts: Sequence[Part]) -> list[NDArray[np.intp]]:
    """Which elements of its output are compared of each part: all, or a fixed sample of them."""
    share = max(1, MOST_WIDTH // max(1, len(parts)))
    rng = np.random.default_rng(_SEED)
    picked = []
    for part in parts:
        shape = static_shape(part.value)
        size = 0 if shape is None else int(np.prod(shape))
        chosen = np.arange(size) if size <= share else np.sort(rng.choice(size, share, replace=False))
        picked.append(chosen if part.places is None else part.places[chosen])
    return picked


def _is_probability(value: ir.Value) -> bool:
    """Whether a Sigmoid made it, behind what only moves or takes elements."""
    node = value.producer()
    while node is not None and node.op_type in _TAKES and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node is not None and node.op_type in _SIGMOIDS


def _logits(output: NDArray[Any], origin: str, least: float = _LEAST_PROBABILITY) -> NDArray[np.float64]:
    exact = output.astype(np.float64)
    if origin == "Softmax":
        return np.asarray(np.log(np.maximum(exact, least)))
    if origin in _SIGMOIDS:
        inside = exact.clip(least, 1 - least)
        return np.asarray(np.log(inside) - np.log1p(-inside))
    return exact


def _is_binary(scores: ClassScores) -> bool:
    return scores.threshold is not None or scores.origin in _SIGMOIDS


def _log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    exact = logits.astype(np.float64)
    exact -= exact.max(axis=1, keepdims=True)
    return np.asarray(exact - np.log(np.exp(exact).sum(axis=1, keepdims=True)))


def _sigmoid(logits: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.exp(-np.logaddexp(0, -logits)), np.float64)
