"""Closed-form re-fits: a layer's weights and bias so that it gives what the float network's layer gives.

Asymmetric: the inputs are those of the pruned network, the targets are the float network's. With G = E[a aᵀ] and
R = E[a tᵀ], ``W' = W + (R - G Wᵀ)ᵀ (G + λ mean(diag G) I)⁻¹`` is the ridge solution drawn towards W: He et al. 2017,
"Channel Pruning for Accelerating Very Deep Neural Networks" (arXiv:1707.06168), its reconstruction, with the targets
of Zhang et al. 2015 (arXiv:1505.06798), "asymmetric reconstruction for multi-layer".

One layer of a sequential pass:

    moments = collect(model, weights, [node.name], samples, targets=True)[node.name]
    matrix = ridge(weight_matrix(node, weights), moments, damping)
    weights |= weights_of_matrix(node, matrix)
"""

from collections.abc import Callable, Iterable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.passes.prune.moments import InputMoments
from edgekit.passes.prune.network import Array, Sample, Weights

DAMPING = 1e-3
"""Share of the mean diagonal of G; for ResNet-8 and 1,024 images."""


def ridge(matrix: NDArray[np.float64], moments: InputMoments, damping: float = DAMPING) -> NDArray[np.float64]:
    """The matrix [blocks, outputs per block, columns + 1] nearest the targets of ``moments``, drawn towards ``matrix``.

    What is zero stays zero: columns that are zero in all outputs of a block (removed inputs), and outputs whose row and
    bias are all zero (removed, or a dropped branch). ``damping`` > 0.
    """
    raise NotImplementedError


def refit_all(
    model: ir.Model,
    weights: Weights,
    samples: Iterable[Sample],
    *,
    damping: float = DAMPING,
    advance: Callable[[int], None] | None = None,
) -> dict[str, Array]:
    """The ``weights`` of a pruned network with every layer re-fitted that differs from the float network's.

    A layer differs when its input or its own weights do.

    Args:
        model: the float network (canonical, full size).
        weights: of the pruned one, at full shape, by initializer name: removed columns are zero.
        samples: iterable more than once.
        damping: as in ``ridge``.
        advance: called with the number of layers done.

    In the graph's order, each on the layers re-fitted before it. Layers whose weight or bias another node shares, and
    those that ``supports_moments`` refuses, stay as they are.
    """
    raise NotImplementedError
