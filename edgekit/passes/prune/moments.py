"""Second moments of what a weight multiplies: E[a aᵀ] of its input, and E[a tᵀ] with what it should give.

For a Conv a row is an im2col patch, for a Gemm or MatMul a row of its input; a 1 for the bias comes last. All pixels of
all samples count, in float64 totals.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.passes.prune.network import Array

MOST_COLUMNS = 4609
"""Wider inputs have no second moments here: the matrix would take 170 MB and minutes to factor."""


@dataclass(slots=True)
class InputMoments:
    """Running sums for one weight.

    ``gram``: float64 [blocks, columns + 1, columns + 1]; blocks are a grouped convolution's (1 otherwise; a depthwise
    one has a block per channel), columns are (input channels per block) x (kernel), channel by channel, then the 1.
    ``cross``: float64 [blocks, columns + 1, outputs per block], only where targets were given. ``rows``: how many.
    """

    gram: NDArray[np.float64]
    cross: NDArray[np.float64] | None
    rows: int

    @classmethod
    def of(cls, node: ir.Node, *, targets: bool = False) -> "InputMoments":
        """Empty sums for a Conv, Gemm or MatMul node with a constant weight."""
        raise NotImplementedError

    def update(self, source: Array, target: Array | None = None) -> None:
        """Add one sample: the node's input and, where wanted, what its output should be (bias included)."""
        raise NotImplementedError


def weight_matrix(node: ir.Node) -> NDArray[np.float64]:
    """The weight and bias of a Conv, Gemm or MatMul as [blocks, outputs per block, columns + 1]: output = matrix @ row."""
    raise NotImplementedError


def weights_of_matrix(node: ir.Node, matrix: NDArray[np.float64]) -> dict[str, Array]:
    """The way back: the node's weight and bias initializers by name.

    A node without a bias (a MatMul) loses the last column.
    """
    raise NotImplementedError
