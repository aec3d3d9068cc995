"""Optimal brain surgeon on a consumer's second moments: which channels to remove, and what makes up for them.

Hassibi & Stork 1993, "Second order derivatives for network pruning: Optimal Brain Surgeon"; for layer outputs as in
Frantar & Alistarh 2022, "Optimal Brain Compression" (arXiv:2208.11580), here for whole channels:
with H = G + damping, removing the columns g of W costs tr(W_g (H⁻¹_gg)⁻¹ W_gᵀ), and the best other columns are
W - W_g (H⁻¹_gg)⁻¹ H⁻¹_g.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DAMPING = 1e-3
"""Share of the mean diagonal of G that is added to its diagonal; the bias's is hardly damped."""


@dataclass(frozen=True, slots=True)
class ConsumerProblem:
    """One consumer of a group: ``matrix`` [outputs, columns + 1] float64, ``gram`` [columns + 1, columns + 1].

    ``columns[u]``: the columns of the group's u-th unit (those of several input channels and of the whole kernel).
    Blocks of a grouped convolution are laid side by side (block diagonal) before they come here.
    """

    matrix: NDArray[np.float64]
    gram: NDArray[np.float64]
    columns: Sequence[NDArray[np.intp]]


@dataclass(frozen=True, slots=True)
class Elimination:
    """What is left at one number of units: ``kept`` (indices into the group's units, ascending), each consumer's new
    matrix (full width, zero where removed), and the ``loss``: output energy lost, a share of all consumers' energy."""

    kept: NDArray[np.intp]
    matrices: tuple[NDArray[np.float64], ...]
    loss: float


def eliminate(
    problems: Sequence[ConsumerProblem], wanted: Collection[int], *, order: Sequence[int] | None = None
) -> Mapping[int, Elimination]:
    """Remove units one by one, the cheapest first, and remember the state at each number in ``wanted``.

    Of several consumers the costs are added, each as a share of its own output's energy. ``order``: remove in this order
    instead (another importance chose), with the same compensation.
    """
    raise NotImplementedError
