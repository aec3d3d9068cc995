"""Optimal brain surgeon on a consumer's second moments: which channels to remove, and what makes up for them.

Hassibi & Stork 1993, "Second order derivatives for network pruning: Optimal Brain Surgeon"; for layer outputs as in
Frantar & Alistarh 2022, "Optimal Brain Compression" (arXiv:2208.11580), here for whole channels:
with H = G + damping, removing the columns g of W costs tr(W_g (H⁻¹_gg)⁻¹ W_gᵀ), and the best other columns are
W - W_g (H⁻¹_gg)⁻¹ H⁻¹_g. They minimize E|Wa - W'a|² + damping |W - W'|² among all W' that are zero in g.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError

DAMPING = 1e-3
"""Share of the mean diagonal of G that is added to its diagonal; the bias's is hardly damped."""
BIAS_DAMPING = 1e-9
"""Share of the bias's own diagonal that is added to it."""
FREE = 1e-8
"""Units that cost less than this share of the outputs' energy, the bias making up for their mean, go first."""
_PENDING = 128
"""Columns removed before the inverse is updated, by all of them in one product."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ConsumerProblem:
    """One consumer of a group: ``matrix`` [outputs, columns + 1] float64, ``gram`` [columns + 1, columns + 1].

    ``columns[u]``: the columns of the group's u-th unit (those of several input channels and of the whole kernel).
    ``energy``: what costs are shares of; None: this consumer's own. Each block of a grouped convolution is a problem,
    and theirs is the whole layer's, so that a layer counts once. For a consumer without a bias the last row and column
    of ``gram`` are zero: then nothing is moved to the bias.
    """

    matrix: Matrix
    gram: Matrix
    columns: Sequence[NDArray[np.intp]]
    energy: float | None = None

    @property
    def whole(self) -> float:
        """What costs are shares of. Raises DataError for moments that are not finite."""
        return output_energy(self.matrix, self.gram) if self.energy is None else self.energy


@dataclass(frozen=True, slots=True)
class Unfitted:
    """Consumers that only lose their columns, all together: ``shares`` [units] of their outputs' energy."""

    shares: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Elimination:
    """What is left at one number of units: ``kept`` (indices into the group's units, ascending), and each consumer's
    new matrix (full width, zero where removed)."""

    kept: NDArray[np.intp]
    matrices: tuple[Matrix, ...]


def eliminate(
    problems: Sequence[ConsumerProblem],
    wanted: Collection[int],
    *,
    order: Sequence[int] | NDArray[np.intp] | None = None,
    unfitted: Unfitted | None = None,
) -> Iterator[tuple[int, Elimination]]:
    """Remove units one by one, the cheapest first, and give the state at each number in ``wanted``, descending.

    Of several consumers the costs are added, each as a share of its own output's energy, and those of ``unfitted`` to
    them; of equal ones the lowest index goes first. ``order``: remove in this order instead (another importance chose),
    with the same compensation; without any consumer there must be one. Matrices are made when their state is asked for.

    Raises:
        DataError: moments that are not finite.
    """
    units = len(problems[0].columns) if problems else len(() if order is None else order)
    if not all(0 <= count <= units for count in wanted):
        raise ValueError(f"cannot keep {sorted(wanted)} of {units} units")
    others = np.zeros(units) if unfitted is None else unfitted.shares
    first = _free_units(problems, others) if order is None else [int(unit) for unit in order]
    surgeries = [_Surgery(problem, scored=order is None) for problem in problems]
    removed: list[int] = []
    for count in sorted(set(wanted), reverse=True):
        for chosen in _choices(surgeries, others, removed, first, units - count):
            for surgery in surgeries:
                surgery.remove(chosen)
            removed.extend(chosen)
        kept = np.setdiff1d(np.arange(units), removed)
        yield count, Elimination(kept, tuple(surgery.matrix() for surgery in surgeries))


def _choices(
    surgeries: Sequence["_Surgery"], others: Matrix, removed: list[int], first: Sequence[int], goal: int
) -> Iterator[Sequence[int]]:
    """What to remove next, until ``goal`` units are gone; the caller extends ``removed``.

    What is known beforehand is removed many units at a time, which gives the same as one by one.
    """
    widest = max((surgery.width for surgery in surgeries), default=1)
    step = max(1, _PENDING // widest)
    bounds = [*range(len(removed), min(goal, len(first)), step), min(goal, len(first))]
    for start, stop in pairwise(bounds):
        yield first[start:stop]
    while len(removed) < goal:
        scores = others + np.sum([surgery.scores() for surgery in surgeries], axis=0)
        scores[removed] = np.inf
        yield [int(scores.argmin())]


def _free_units(problems: Sequence[ConsumerProblem], others: Matrix) -> list[int]:
    """Units that never vary, or that nobody reads: the bias alone makes up for them, which damping would hide.

    Where ``others`` read a unit no bias makes up for anything.
    """
    costs = others.copy()
    for problem in problems:
        energy = problem.whole
        mean, one = problem.gram[-1], problem.gram[-1, -1]
        for unit, columns in enumerate(problem.columns):
            weight, moment = problem.matrix[:, columns], problem.gram[np.ix_(columns, columns)]
            centred = moment - np.outer(mean[columns], mean[columns]) / one if one > 0 else moment
            costs[unit] += _share(float(np.sum((weight @ centred) * weight)), energy)
    return [int(unit) for unit in np.flatnonzero(costs <= FREE)]


def output_energy(matrix: Matrix, gram: Matrix) -> float:
    """tr(W G Wᵀ): mean square of the outputs, summed over them. Raises DataError for moments that are not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        energy = float(np.sum((matrix @ gram) * matrix))
    if not np.isfinite(energy):
        raise DataError("activations overflow on the calibration samples: leave out those with infinities or NaN")
    return energy


def _share(cost: float, energy: float) -> float:
    return max(cost, 0.0) / energy if energy > 0 else 0.0


def _damping(gram: Matrix) -> Matrix:
    """What is added to the diagonal. Where that is all zero, any number does: nothing depends on these columns."""
    diagonal = gram.diagonal()
    result = np.full(len(gram), DAMPING * diagonal[:-1].mean() if len(gram) > 1 else 0.0)
    result[-1] = BIAS_DAMPING * diagonal[-1]
    result[result <= 0] = 1.0
    return result


class _Surgery:
    """One consumer under removal.

    Columns are sorted by unit and scaled so that H has a unit diagonal (its inverse then loses nothing to the inputs'
    scale). All units have ``width`` columns: shorter ones are filled up with columns that nothing depends on. Removed
    columns wait in ``_left`` and ``_right``: H⁻¹ = _inverse - _right _rightᵀ and W = _weight - _left _rightᵀ.
    """

    def __init__(self, problem: ConsumerProblem, *, scored: bool) -> None:
        self._problem = problem
        self._scored = scored
        self._energy = problem.whole
        self._damping = _damping(problem.gram)
        self.width = max(1, *(len(columns) for columns in problem.columns))
        self._source = self._sorted_columns()
        self._scale = self._filled(np.sqrt(problem.gram.diagonal() + self._damping), 1.0)
        self._weight = self._filled(problem.matrix, 0.0) * self._scale
        self._inverse = self._first_inverse()
        self._alive = list(range(len(problem.columns)))
        self._gone: set[int] = set()
        self._left, self._right = self._none_pending()
        self._blocks, self._moments = self._unit_parts()

    def remove(self, units: Sequence[int]) -> None:
        """Remove these units together, and let the other columns make up for them."""
        place = {unit: position for position, unit in enumerate(self._alive)}
        columns = np.concatenate([place[unit] * self.width + np.arange(self.width) for unit in units])
        rows = self._inverse[columns] - self._right[columns] @ self._right.T
        inner = np.linalg.inv(np.linalg.cholesky(rows[:, columns])).T
        right = rows.T @ inner
        left = (self._weight[:, columns] - self._left @ self._right[columns].T) @ inner
        if self._scored:
            self._update_blocks(left, right)
            gone = [place[unit] for unit in units]
            self._blocks[gone], self._moments[gone] = np.eye(self.width), 0.0
        self._left, self._right = np.hstack([self._left, left]), np.hstack([self._right, right])
        self._gone.update(units)
        if self._right.shape[1] >= _PENDING:
            self._apply_pending()

    def scores(self) -> Matrix:
        """[units]: what removing each would cost now, a share of the output energy; 0 for those that are gone."""
        if self.width == 1:
            costs = self._moments[:, 0, 0] / self._blocks[:, 0, 0]
        else:
            costs = np.einsum("uij,uij->u", np.linalg.inv(self._blocks), self._moments)
        result = np.zeros(len(self._problem.columns))
        result[self._alive] = np.maximum(costs, 0.0) / self._energy if self._energy > 0 else 0.0
        return result

    def matrix(self) -> Matrix:
        """The consumer's matrix now, zero in the columns that are gone."""
        if not self._gone:
            return self._problem.matrix.copy()
        self._apply_pending()
        result = np.zeros_like(self._problem.matrix)
        real = self._source >= 0
        result[:, self._source[real]] = (self._weight / self._scale)[:, real]
        return result

    def _sorted_columns(self) -> NDArray[np.intp]:
        """The problem's column at each of ours: unit by unit, then those of no unit and the bias; -1 fills up."""
        blocks = np.full((len(self._problem.columns), self.width), -1, np.intp)
        for block, columns in zip(blocks, self._problem.columns, strict=True):
            block[: len(columns)] = columns
        others = np.setdiff1d(np.arange(len(self._problem.gram)), blocks)
        return np.concatenate([blocks.reshape(-1), others])

    def _filled(self, array: Matrix, fill: float) -> Matrix:
        """Columns in our order."""
        return np.asarray(np.where(self._source >= 0, array[..., self._source], fill))

    def _first_inverse(self) -> Matrix:
        source, real = self._source, self._source >= 0
        hessian = self._problem.gram[np.ix_(source, source)]
        hessian /= self._scale
        hessian /= self._scale[:, None]
        hessian[~real], hessian[:, ~real] = 0.0, 0.0
        np.fill_diagonal(hessian, 1.0)
        return np.asarray(np.linalg.inv(hessian))

    def _none_pending(self) -> tuple[Matrix, Matrix]:
        return np.empty((len(self._weight), 0)), np.empty((len(self._inverse), 0))

    def _unit_parts(self) -> tuple[Matrix, Matrix]:
        """Each living unit's part of H⁻¹ and of WᵀW, [units, width, width], which scores are made of."""
        inside = len(self._alive) * self.width
        units = np.arange(inside).reshape(-1, self.width)
        weight = self._weight[:, :inside].reshape(len(self._weight), -1, self.width).transpose(1, 0, 2)
        return self._inverse[units[:, :, None], units[:, None, :]], weight.transpose(0, 2, 1) @ weight

    def _update_blocks(self, left: Matrix, right: Matrix) -> None:
        """Follow each unit's part of H⁻¹ and of WᵀW."""
        inside = len(self._alive) * self.width
        ours = right[:inside].reshape(-1, self.width, right.shape[1])
        self._blocks -= ours @ ours.transpose(0, 2, 1)
        shared = left.T @ self._weight[:, :inside] - (left.T @ self._left) @ self._right[:inside].T
        shared -= (0.5 * (left.T @ left)) @ right[:inside].T
        half = ours @ shared.reshape(-1, len(self._alive), self.width).transpose(1, 0, 2)
        self._moments -= half + half.transpose(0, 2, 1)

    def _apply_pending(self) -> None:
        """Update the inverse and the weights by all that waits, and drop the columns that are gone."""
        if not self._right.shape[1]:
            return
        stay = np.array([unit not in self._gone for unit in self._alive])
        keep = np.flatnonzero(np.concatenate([stay.repeat(self.width), np.ones(self._others, np.bool_)]))
        right = self._right[keep]
        self._inverse = self._inverse[np.ix_(keep, keep)]
        self._inverse -= right @ right.T
        self._weight = self._weight[:, keep] - self._left @ right.T
        self._source, self._scale = self._source[keep], self._scale[keep]
        self._alive = [unit for unit in self._alive if unit not in self._gone]
        self._left, self._right = self._none_pending()
        self._blocks, self._moments = self._unit_parts()

    @property
    def _others(self) -> int:
        """Columns of no unit, and the bias."""
        return len(self._source) - len(self._alive) * self.width
