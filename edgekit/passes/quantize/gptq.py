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
BLOCK = 32


def gptq_codes(weight: NDArray[np.float64], hessian: NDArray[np.float64], quant_max: int) -> NDArray[np.float64]:
    """Integer codes that minimize ``E|(weight - codes) x|²`` greedily, column by column.

    Args:
        weight: [groups, rows, inputs], in units of each row's scale.
        hessian: [groups, inputs, inputs], the second moments of x up to a factor.
        quant_max: codes lie in [-quant_max, quant_max].
    """
    order = np.argsort(-np.diagonal(hessian, axis1=1, axis2=2), axis=1, kind="stable")
    factor = _inverse_factor(_reordered(hessian, order))
    # Inputs before rows: each step then works on contiguous memory.
    remaining = np.take_along_axis(np.ascontiguousarray(weight.transpose(0, 2, 1)), order[:, :, None], axis=1)
    codes, errors = np.empty_like(remaining), np.empty_like(remaining)
    inputs = weight.shape[2]
    for start in range(0, inputs, BLOCK):
        stop = min(start + BLOCK, inputs)
        for i in range(start, stop):
            codes[:, i] = np.clip(np.rint(remaining[:, i]), -quant_max, quant_max)
            errors[:, i] = (remaining[:, i] - codes[:, i]) / factor[:, i, i, None]
            remaining[:, i + 1 : stop] -= factor[:, i, i + 1 : stop, None] * errors[:, None, i]
        remaining[:, stop:] -= factor[:, start:stop, stop:].transpose(0, 2, 1) @ errors[:, start:stop]
    result = np.empty_like(codes)
    np.put_along_axis(result, order[:, :, None], codes, axis=1)
    return result.transpose(0, 2, 1)


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
