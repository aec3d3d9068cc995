"""Give every output channel the mean, or the mean and the deviation, that it has in the float network.

The means are those of Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction"
(arXiv:1906.04721), section 4.2, measured instead of derived. With the deviations it is what estimating a BatchNorm anew
after pruning does, for one that is folded already. It has two numbers per channel to fit where a re-fit has a row of
the matrix, so it needs less data. Means alone can ruin a network: what is left of a signal is smaller than it was, and
a shift puts a constant where its size should be. EfficientNet-Lite1 without one residual branch, 63 images, KL on
others: left as it is 0.015, means 2.1, means and deviations 0.026. So both are candidates only, to be measured.
"""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import onnx_ir as ir

from edgekit.passes.prune.moments import InputMoments
from edgekit.passes.prune.network import Array, Sample, Weights
from edgekit.passes.prune.refit import Matrix, solve_all

MOST_SCALE = 2.0
"""Deviations are changed by no more than this factor, up or down."""

_CONSTANT = 1e-6
"""A variance below this share of the mean square is float32's rounding: such a channel keeps its scale."""


def match(matrix: Matrix, moments: InputMoments, *, deviation: bool = True) -> Matrix:
    """The matrix whose outputs have the targets' means and, with ``deviation``, their standard deviations.

    A layer without a bias stays as it is, and so does an output whose row and bias are all zero.
    """
    cross = moments.cross
    assert cross is not None
    if moments.layer.bias is None:
        return matrix
    mean = matrix @ (moments.gram[:, :, -1:] / moments.rows)
    wanted = cross[:, -1, :, None] / moments.rows
    scale = _scale(matrix, moments, mean, wanted) if deviation else np.ones_like(mean)
    matched = matrix * scale
    matched[..., -1:] += wanted - mean * scale
    return np.where(matrix.any(axis=2, keepdims=True), matched, 0.0)


def _scale(matrix: Matrix, moments: InputMoments, mean: Matrix, wanted: Matrix) -> Matrix:
    square = np.einsum("boi,bij,boj->bo", matrix, moments.gram, matrix, optimize=True)[..., None] / moments.rows
    have, want = square - mean**2, moments.squares[..., None] / moments.rows - wanted**2
    varies = (have > _CONSTANT * square) & (want > 0)
    ratio = np.sqrt(np.where(varies, want, 1.0) / np.where(varies, have, 1.0))
    return np.asarray(np.clip(ratio, 1 / MOST_SCALE, MOST_SCALE))


def correct_all(
    model: ir.Model,
    weights: Weights,
    samples: Iterable[Sample],
    *,
    deviation: bool = True,
    advance: Callable[[int], None] = lambda done: None,
) -> dict[str, Array]:
    """The ``weights`` of a pruned network with every layer that differs from the float network's corrected.

    Arguments as of ``refit_all``; without ``deviation`` only the means are corrected.
    """
    return solve_all(model, weights, samples, partial(match, deviation=deviation), advance)
