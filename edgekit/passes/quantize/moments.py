"""Moments of the inputs that each weight meets: what GPTQ rounding and bias correction need to know.

Everything is a sum of integers, held exactly (float32 products of at most `EXACT_ROWS` rows, float64 totals), so the
result is the same for every order of the samples. Output positions are subsampled by a fixed pattern.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.patches import PatchSampler, sampler_of
from edgekit.graph.queries import shape_of
from edgekit.passes.quantize.assignment import Assignment, activation_inputs, has_weight
from edgekit.passes.quantize.qparams import QParams

# Codes reach 128 in magnitude: 128**2 * 1024 == 2**24, up to which float32 counts exactly.
EXACT_ROWS = 1024
# Rows wanted per unknown of the least-squares problem (EfficientNet-Lite1: 1, 2 and 4 score alike), and at least this
# many from each sample.
ROWS_PER_INPUT = 2
MIN_ROWS = 8
# Wider weights keep means only: their matrix of inputs x inputs would take 42 MB and more, and seconds to factor.
MOST_INPUTS = 2304
# The reals themselves are summed in this fraction of a code, and cut off this many codes away.
FRACTION = 256
_FARTHEST = 4096
# Bytes of codes gathered before they are multiplied: larger products are faster, and pending rows cost memory. They are
# copied to one place: small arrays that live long would pin the large ones' memory.
_PENDING_BYTES = 1 << 19


def observable_weights(assignment: Assignment) -> Iterator[tuple[ir.Node, ir.Value]]:
    """The nodes whose weights can be rounded by what their input does, with that input."""
    for node, rule in assignment.rules.items():
        if has_weight(node, rule) and node.op_type in ("Conv", "Gemm", "MatMul"):
            (_, source), *_ = activation_inputs(node, rule)
            yield node, source


@dataclass(frozen=True, slots=True)
class RowSums:
    """One sample's rows: ``codes`` [groups, rows, inputs], and their reals' sum in `FRACTION`s [groups, inputs]."""

    codes: NDArray[np.int8]
    reals: NDArray[np.float64]


@dataclass(slots=True)
class Moments:
    """Exact sums over sampled rows of a weight's input, fake-quantized with ``qparams``.

    ``_gram`` [groups, inputs, inputs] and ``_total`` [groups, inputs] are of codes, ``_reals`` of reals in `FRACTION`s
    of a code above the zero point. Without ``pairs`` there is no ``_gram``.
    """

    sampler: PatchSampler
    qparams: QParams
    pairs: bool = True
    rows: int = 0
    _gram: NDArray[np.int32 | np.float64] | None = None
    _total: NDArray[np.float64] | None = None
    _reals: NDArray[np.float64] | None = None
    _pending: NDArray[np.int8] | None = None
    _filled: int = 0

    @property
    def groups(self) -> int:
        """How many independent sets of inputs there are: those of a grouped convolution."""
        return self.sampler.groups

    @classmethod
    def of(cls, node: ir.Node, qparams: QParams, samples: int) -> "Moments":
        """Empty moments for the weight of ``node``, with as many rows from each of ``samples`` as suffice together."""
        weight = node.inputs[1]
        assert weight is not None
        shape = shape_of(weight)
        inputs = shape[0] if node.op_type == "MatMul" else int(np.prod(shape[1:]))
        wanted = -(-ROWS_PER_INPUT * inputs // samples) if inputs <= MOST_INPUTS else MIN_ROWS
        rows = int(np.clip(wanted, MIN_ROWS, EXACT_ROWS))
        return cls(sampler_of(node, rows), qparams, pairs=inputs <= MOST_INPUTS)

    def rows_of(self, value: NDArray[np.float32]) -> RowSums:
        """The rows that one sample adds; does not change the moments, so samples may do this side by side."""
        q = self.qparams
        rows = self.sampler.rows(value)
        rows /= q.scale
        reals = rows * np.float32(FRACTION)
        np.rint(reals, out=reals)
        reals.clip(-_FARTHEST * FRACTION, _FARTHEST * FRACTION, out=reals)
        np.rint(rows, out=rows)
        rows += q.zero_point.astype(np.float32)
        rows.clip(q.quant_min, q.quant_max, out=rows)
        return RowSums(rows.astype(np.int8), _exact_sum(reals))

    def update(self, added: RowSums) -> None:
        """Add one sample's rows."""
        groups, count, inputs = added.codes.shape
        if self._pending is not None and self._filled + count > self._pending.shape[1]:
            self.flush()
        if self._pending is None:
            capacity = min(EXACT_ROWS, max(count, _PENDING_BYTES // (groups * inputs)))
            self._pending = np.empty((groups, capacity, inputs), np.int8)
        self._pending[:, self._filled : self._filled + count] = added.codes
        self._filled += count
        self._reals = added.reals if self._reals is None else self._reals + added.reals

    def flush(self) -> None:
        """Fold the pending rows into the totals."""
        if self._pending is None:
            return
        rows = self._pending[:, : self._filled].astype(np.float32)
        self._pending, self._filled = None, 0
        total = rows.sum(axis=1)
        self._total = total.astype(np.float64) if self._total is None else self._total + total
        self.rows += rows.shape[1]
        if not self.pairs:
            return
        # Half the memory while int32 can hold the sum: wide networks have hundreds of megabytes of this.
        exact = np.int32 if self.rows * 128**2 < 2**31 else np.float64
        gram = np.matmul(rows.transpose(0, 2, 1), rows).astype(exact)
        if self._gram is not None:
            gram += self._gram
        self._gram = gram

    def mean(self) -> NDArray[np.float64]:
        """[groups, inputs]: the mean of the fake-quantized input, real."""
        assert self._total is not None
        codes = self._total / self.rows
        return np.asarray((codes - float(self.qparams.zero_point)) * float(self.qparams.scale))

    def mean_error(self) -> NDArray[np.float64]:
        """[groups, inputs]: the mean of the input minus that of the fake-quantized input, real."""
        assert self._reals is not None
        exact = np.asarray(self._reals / (self.rows * FRACTION) * float(self.qparams.scale))
        return np.asarray(exact - self.mean())

    def second_moment(self, *, centered: bool) -> NDArray[np.float64]:
        """[groups, inputs, inputs], in codes squared: the covariance, or the moment about real 0."""
        assert self._gram is not None and self._total is not None
        total = self._total
        # Integers below 2**53 still: what never varies has a covariance of exactly 0.
        covariance = self._gram * float(self.rows) - total[:, :, None] * total[:, None, :]
        covariance /= self.rows**2
        if centered:
            return np.asarray(covariance)
        mean = total / self.rows - float(self.qparams.zero_point)
        return np.asarray(covariance + mean[:, :, None] * mean[:, None, :])


def _exact_sum(reals: NDArray[np.float32]) -> NDArray[np.float64]:
    """Over the rows; float32 counts exactly up to 2**24."""
    enough = np.float32 if reals.shape[1] * _FARTHEST * FRACTION <= 2**24 else np.float64
    return np.asarray(reals.sum(axis=1, dtype=enough), np.float64)
