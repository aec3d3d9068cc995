"""Round weights so that the outputs, not the weights, stay close.

Frantar, Ashkboos, Hoefler, Alistarh 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers" (arXiv:2210.17323), algorithm 1, here also for convolutions: the inputs of one output pixel are a row.
In the form of Chee et al. 2023, "QuIP" (arXiv:2307.13304), theorem 6: the same codes without inverting anything.
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
    feedback = _feedback(_reordered(hessian, order))
    # Inputs before rows: each step then works on contiguous memory.
    exact = np.take_along_axis(np.ascontiguousarray(weight.transpose(0, 2, 1)), order[:, :, None], axis=1)
    wanted, codes = exact.copy(), np.empty_like(exact)
    inputs = weight.shape[2]
    for start in range(0, inputs, BLOCK):
        stop = min(start + BLOCK, inputs)
        for i in range(start, stop):
            codes[:, i] = np.rint(wanted[:, i]).clip(-quant_max, quant_max)
            error = exact[:, i] - codes[:, i]
            wanted[:, i + 1 : stop] += feedback[:, i, i + 1 : stop, None] * error[:, None]
        errors = exact[:, start:stop] - codes[:, start:stop]
        wanted[:, stop:] += feedback[:, start:stop, stop:].transpose(0, 2, 1) @ errors
    result = np.empty_like(codes)
    np.put_along_axis(result, order[:, :, None], codes, axis=1)
    return result.transpose(0, 2, 1)


def _reordered(hessian: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.float64]:
    groups = np.arange(len(order))[:, None, None]
    return hessian[groups, order[:, :, None], order[:, None, :]]


def _feedback(hessian: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit upper-triangular U with H + damping = U D Uᵀ: how much of each error the later columns make up for.

    The squared error is then the sum over columns k of ``D[k] * (error[k] + sum over j < k of error[j] U[j, k])²``.
    With the order of rows and columns reversed, H = L Lᵀ; L reversed again, its columns divided by its diagonal, is U.
    """
    diagonal = np.einsum("gii->gi", hessian)
    damping = np.maximum(DAMPING * diagonal.mean(axis=1), _LEAST_DAMPING)
    diagonal += damping[:, None]
    upper = np.linalg.cholesky(hessian[:, ::-1, ::-1])[:, ::-1, ::-1]
    return np.asarray(upper / np.einsum("gii->gi", upper)[:, None, :])
