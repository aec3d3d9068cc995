"""Round weights so that the outputs, not the weights, stay close.

Frantar, Ashkboos, Hoefler, Alistarh 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers" (arXiv:2210.17323), algorithm 1, here also for convolutions: the inputs of one output pixel are a row.
"""

import numpy as np
from numpy.typing import NDArray

# The paper's share of the mean diagonal that is added to every diagonal entry (section 3.3, step 3).
DAMPING = 0.01
# In squared codes; inputs that never vary must not make the system singular.
_LEAST_DAMPING = 1e-3
BLOCK = 64


def gptq_codes(weight: NDArray[np.float64], hessian: NDArray[np.float64], quant_max: int) -> NDArray[np.float64]:
    """Integer codes that minimize ``E|(weight - codes) x|²`` greedily, column by column.

    Args:
        weight: [groups, rows, inputs], in units of each row's scale.
        hessian: [groups, inputs, inputs], the second moments of x up to a factor.
        quant_max: codes lie in [-quant_max, quant_max].
    """
    order = np.argsort(-np.diagonal(hessian, axis1=1, axis2=2), axis=1, kind="stable")
    factor = _inverse_factor(_reordered(hessian, order))
    remaining = np.take_along_axis(weight, order[:, None, :], axis=2)
    codes = np.empty_like(remaining)
    inputs = weight.shape[2]
    for start in range(0, inputs, BLOCK):
        stop = min(start + BLOCK, inputs)
        errors = np.empty((*remaining.shape[:2], stop - start))
        for i in range(start, stop):
            column = remaining[:, :, i]
            codes[:, :, i] = np.clip(np.rint(column), -quant_max, quant_max)
            errors[:, :, i - start] = (column - codes[:, :, i]) / factor[:, None, i, i]
            remaining[:, :, i + 1 : stop] -= errors[:, :, i - start, None] * factor[:, None, i, i + 1 : stop]
        remaining[:, :, stop:] -= errors @ factor[:, start:stop, stop:]
    result = np.empty_like(codes)
    np.put_along_axis(result, np.broadcast_to(order[:, None, :], codes.shape), codes, axis=2)
    return result


def _reordered(hessian: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.take_along_axis(np.take_along_axis(hessian, order[:, :, None], axis=1), order[:, None, :], axis=2)


def _inverse_factor(hessian: NDArray[np.float64]) -> NDArray[np.float64]:
    """Upper-triangular U with Uᵀ U = (H + damping)⁻¹.

    With the order of rows and columns reversed, H = L Lᵀ; L⁻¹ reversed again is U.
    """
    mean = np.diagonal(hessian, axis1=1, axis2=2).mean(axis=1)
    damped = hessian + np.maximum(DAMPING * mean, _LEAST_DAMPING)[:, None, None] * np.eye(hessian.shape[1])
    return _triangular_inverse(np.linalg.cholesky(damped[:, ::-1, ::-1]))[:, ::-1, ::-1]


def _triangular_inverse(lower: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of lower-triangular matrices [groups, n, n], by halves: a sixth of the work of a general inverse."""
    size = lower.shape[1]
    if size <= BLOCK:
        return np.tril(np.linalg.inv(lower))
    half = size // 2
    inverse = np.zeros_like(lower)
    inverse[:, :half, :half] = _triangular_inverse(lower[:, :half, :half])
    inverse[:, half:, half:] = _triangular_inverse(lower[:, half:, half:])
    inverse[:, half:, :half] = -inverse[:, half:, half:] @ (lower[:, half:, :half] @ inverse[:, :half, :half])
    return inverse
