from collections.abc import Collection, Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.passes.prune.surgeon import BIAS_DAMPING, DAMPING, ConsumerProblem, Elimination, Unfitted, eliminate

Matrix = NDArray[np.float64]


def problem(rows: Matrix, outputs: int = 5, width: int = 1, seed: int = 0, units: int | None = None) -> ConsumerProblem:
    """A consumer of inputs ``rows`` [samples, columns]; its first ``units`` units have ``width`` columns each."""
    columns = rows.shape[1]
    with_one = np.hstack([rows, np.ones((len(rows), 1))])
    matrix = np.random.default_rng(seed).normal(size=(outputs, columns + 1))
    count = columns // width if units is None else units
    return ConsumerProblem(
        matrix, with_one.T @ with_one / len(rows), np.arange(count * width).reshape(count, width).copy()
    )


def eliminated(
    problems: Sequence[ConsumerProblem],
    wanted: Collection[int],
    order: Sequence[int] | NDArray[np.intp] | None = None,
    unfitted: Unfitted | None = None,
) -> dict[int, Elimination]:
    return dict(eliminate(problems, wanted, order=order, unfitted=unfitted))


def loss(given: ConsumerProblem, found: Elimination) -> float:
    """Share of the output energy that is in the change of the outputs of the only consumer."""
    whole = energy(given.matrix, given.gram)
    return max(energy(given.matrix - found.matrices[0], given.gram), 0.0) / whole if whole > 0 else 0.0


def inputs(samples: int, columns: int, seed: int = 0) -> Matrix:
    """Correlated, not centred, of unlike scales, as after a ReLU."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(samples, columns)) @ random.normal(size=(columns, columns))
    return np.maximum(mixed + random.normal(size=columns), 0.0) * np.exp(random.normal(size=columns))


def least_squares(given: ConsumerProblem, kept: NDArray[np.intp]) -> Matrix:
    """argmin of E|Wa - W'a|² + damping |W - W'|² over what is kept, by stacking the damping below a root of G."""
    gram, matrix = given.gram, given.matrix
    removed = np.setdiff1d(np.arange(len(given.columns)), kept)
    gone = np.concatenate([given.columns[unit] for unit in removed])
    stay = np.setdiff1d(np.arange(len(gram)), gone)
    values, vectors = np.linalg.eigh(gram)
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    damping = np.full(len(gram), DAMPING * gram.diagonal()[:-1].mean())
    damping[-1] = BIAS_DAMPING * gram[-1, -1]
    stacked = np.vstack([root, np.diag(np.sqrt(damping))])
    target = stacked @ matrix.T
    # The damping of what is removed is the same for all W': leaving it out of the target changes nothing.
    result = np.zeros_like(matrix)
    result[:, stay] = np.linalg.lstsq(stacked[:, stay], target, rcond=None)[0].T
    return result


def energy(matrix: Matrix, gram: Matrix) -> float:
    return float(np.sum((matrix @ gram) * matrix))


@pytest.mark.parametrize(
    ("width", "units", "columns"), [(1, 12, 12), (1, 300, 300), (9, 5, 45), (4, 6, 30), (70, 3, 210)]
)
@pytest.mark.parametrize("samples", [20, 1000])
def test_matrices_are_the_least_squares_solution(width: int, units: int, columns: int, samples: int) -> None:
    given_problem = problem(inputs(samples, columns), width=width, units=units)
    result = eliminated([given_problem], range(units))
    for count in {1, units // 2, units - 1}:
        found = result[count]
        assert len(found.kept) == count and (np.diff(found.kept) > 0).all()
        expected = least_squares(given_problem, found.kept)
        np.testing.assert_allclose(found.matrices[0], expected, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("width", [1, 3])
def test_each_removal_is_the_cheapest_one(width: int) -> None:
    """Against all candidates, each solved by itself."""
    units = 7
    both = [problem(inputs(200, units * width, seed), width=width, seed=seed) for seed in (1, 2)]
    result = eliminated(both, range(units))

    def cost(kept: tuple[int, ...]) -> float:
        total = 0.0
        for each in both:
            hessian = each.gram.copy()
            hessian[np.diag_indices_from(hessian)] += DAMPING * each.gram.diagonal()[:-1].mean()
            hessian[-1, -1] = each.gram[-1, -1] * (1 + BIAS_DAMPING)
            change = each.matrix - least_squares(each, np.array(kept))
            total += energy(change, hessian) / energy(each.matrix, each.gram)
        return total

    before = tuple(range(units))
    for count in range(units - 1, 0, -1):
        best = min(combinations(before, count), key=cost)
        assert tuple(result[count].kept) == best
        before = best


def test_a_given_order_is_followed_with_the_same_compensation() -> None:
    given_problem = problem(inputs(100, 40), width=2)
    chosen = eliminated([given_problem], [4, 11, 20])
    order = [3, 17, 4, 0, 19, 8, 9, 1, 2]
    ordered = eliminated([given_problem], [11, 20], order=order)
    assert tuple(ordered[11].kept) == (5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 18)
    np.testing.assert_allclose(ordered[11].matrices[0], least_squares(given_problem, ordered[11].kept), atol=1e-7)
    assert loss(given_problem, ordered[20]) == 0.0
    np.testing.assert_allclose(ordered[20].matrices[0], given_problem.matrix, rtol=1e-12)
    assert loss(given_problem, chosen[11]) < loss(given_problem, ordered[11])
    again = [unit for unit in range(20) if unit not in chosen[11].kept]
    np.testing.assert_allclose(
        eliminated([given_problem], [11], order=again)[11].matrices[0], chosen[11].matrices[0], atol=1e-9
    )


def test_consumers_count_alike_whatever_their_scale() -> None:
    rows = inputs(300, 24)
    small, large = problem(rows, seed=1), problem(rows, seed=2)
    scaled = ConsumerProblem(large.matrix * 1e6, large.gram, large.columns)
    assert list(eliminated([small, large], [8])[8].kept) == list(eliminated([small, scaled], [8])[8].kept)


def test_parts_of_a_layer_count_as_one_consumer() -> None:
    rows = inputs(300, 24)
    other, layer = problem(rows, seed=1), problem(rows, outputs=8, seed=2)

    def parts(share_of: float | None) -> list[ConsumerProblem]:
        pairs = [layer.matrix[start : start + 2] * 10.0**-start for start in (0, 2, 4, 6)]
        return [ConsumerProblem(pair, layer.gram, layer.columns, share_of) for pair in pairs]

    stacked = ConsumerProblem(np.vstack([part.matrix for part in parts(None)]), layer.gram, layer.columns)
    whole = energy(stacked.matrix, stacked.gram)
    expected = eliminated([other, stacked], range(1, 24))
    found = eliminated([other, *parts(whole)], range(1, 24))
    assert all(list(found[count].kept) == list(expected[count].kept) for count in expected)
    voting = eliminated([other, *parts(None)], range(1, 24))
    assert any(list(voting[count].kept) != list(expected[count].kept) for count in expected)


def test_what_only_unfitted_consumers_read_stays_for_its_share() -> None:
    given_problem = problem(inputs(200, 8))
    given_problem.matrix[:, :3] = 0.0  # not read by the one that is fitted
    shares = np.array([0.5, 0.0, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0])
    found = eliminated([given_problem], range(8), unfitted=Unfitted(shares))
    alone = eliminated([given_problem], range(8))
    assert set(range(8)) - set(found[7].kept) == {1}
    assert set(range(8)) - set(alone[5].kept) == {0, 1, 2}
    assert {0, 2} <= set(found[4].kept)
    np.testing.assert_allclose(found[4].matrices[0], least_squares(given_problem, found[4].kept), atol=1e-8)


def test_states_are_made_one_at_a_time() -> None:
    given_problem = problem(inputs(100, 6))
    states = eliminate([given_problem], [2, 5])
    count, found = next(states)
    before = found.matrices[0].copy()
    assert count == 5 and next(states)[0] == 2
    np.testing.assert_array_equal(found.matrices[0], before)
    assert next(states, None) is None


def test_only_the_groups_own_columns_go() -> None:
    """A concatenation's consumer: the columns of other groups stay, and help."""
    given_problem = problem(inputs(100, 10), units=4)
    found = eliminated([given_problem], [0, 2])
    assert (found[0].matrices[0][:, :4] == 0).all()
    assert (found[0].matrices[0][:, 4:] != given_problem.matrix[:, 4:]).all()
    np.testing.assert_allclose(found[0].matrices[0], least_squares(given_problem, np.array([], np.intp)), atol=1e-8)


def test_units_of_unequal_width_and_consumers_that_read_a_part() -> None:
    rows = inputs(200, 9)
    first, second = problem(rows, seed=1), problem(rows, seed=2)
    ragged = [np.array(columns, np.intp) for columns in ([0, 8], [3], [5, 1, 2], [4])]
    part = [np.array(columns, np.intp) for columns in ([2], [], [0, 1], [])]
    problems = [ConsumerProblem(first.matrix, first.gram, ragged), ConsumerProblem(second.matrix, second.gram, part)]
    for count, found in eliminated(problems, range(4)).items():
        assert len(found.kept) == count
        for each, matrix in zip(problems, found.matrices, strict=True):
            np.testing.assert_allclose(matrix, least_squares(each, found.kept), atol=1e-8)


def test_without_a_bias_nothing_is_moved_to_it() -> None:
    given_problem = problem(inputs(100, 8) + 3.0)
    gram, matrix = given_problem.gram.copy(), given_problem.matrix.copy()
    gram[-1], gram[:, -1], matrix[:, -1] = 0.0, 0.0, 0.0
    found = eliminated([ConsumerProblem(matrix, gram, given_problem.columns)], [4])[4]
    assert (found.matrices[0][:, -1] == 0).all() and 0 < loss(ConsumerProblem(matrix, gram, []), found) < 1


def test_what_costs_nothing_goes_first() -> None:
    rows = inputs(400, 12)
    rows[:, 5] = 7.0  # constant: the bias makes up for it
    rows[:, 2] = 0.0  # dead
    given_problem = problem(rows)
    given_problem.matrix[:, 9] = 0.0  # not read
    given_problem.matrix[:, 7] *= 1e-2
    found = eliminated([given_problem], [9, 8])
    assert set(range(12)) - set(found[9].kept) == {2, 5, 9}
    assert loss(given_problem, found[9]) < 1e-7 < loss(given_problem, found[8]) < 1e-3


def test_of_duplicates_one_stays_and_nothing_is_lost() -> None:
    rows = inputs(400, 6)
    given_problem = problem(np.hstack([rows, rows]))
    found = eliminated([given_problem], [6, 5])
    assert sorted(unit % 6 for unit in found[6].kept) == list(range(6))
    assert loss(given_problem, found[6]) < 1e-4
    assert loss(given_problem, found[5]) > 10 * loss(given_problem, found[6])


def test_nothing_at_all_is_no_trouble() -> None:
    dead = ConsumerProblem(np.zeros((2, 4)), np.zeros((4, 4)), np.arange(3)[:, None].copy())
    found = eliminated([dead], [2, 0])
    assert list(found[2].kept) == [1, 2]
    assert (found[2].matrices[0] == 0).all()
    silent = ConsumerProblem(np.ones((2, 4)), np.zeros((4, 4)), dead.columns)
    np.testing.assert_array_equal(eliminated([silent], [2])[2].matrices[0], [[0, 1, 1, 1]] * 2)
    alone = eliminated([], [1], order=np.array([2, 0, 1]))
    assert list(alone[1].kept) == [1] and alone[1].matrices == ()
    unread = ConsumerProblem(np.ones((1, 2)), np.eye(2), [np.empty(0, np.intp)] * 3)
    assert list(eliminated([unread], [1])[1].kept) == [2]


def test_counts_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(ValueError, match=r"cannot keep \[5\] of 4 units"):
        eliminated([problem(inputs(50, 4))], [5])


def test_activations_that_overflow_are_named() -> None:
    given_problem = problem(inputs(50, 4))
    given_problem.gram[1, 2] = np.inf
    with pytest.raises(DataError, match="overflow on the calibration samples"):
        eliminated([given_problem], [2])


def test_moments_summed_in_float32_are_good_enough() -> None:
    """Rounding makes such a matrix indefinite: damping must outweigh it, even beside large constants."""
    rows = np.hstack([inputs(50, 400), np.full((50, 20), 300.0), inputs(50, 400) + 40.0]).astype(np.float32)
    with_one = np.hstack([rows, np.ones((50, 1), np.float32)])
    gram = (with_one.T @ with_one / np.float32(50)).astype(np.float64)
    matrix = np.random.default_rng(0).normal(size=(6, 821))
    given_problem = ConsumerProblem(matrix, gram, np.arange(820)[:, None].copy())
    found = eliminated([given_problem], [800, 400, 10])
    assert set(range(400, 420)).isdisjoint(found[800].kept)
    assert 0 <= loss(given_problem, found[800]) < loss(given_problem, found[400]) < loss(given_problem, found[10]) < 1


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    samples=st.integers(1, 60),
    units=st.integers(1, 10),
    width=st.integers(1, 4),
    flaws=st.lists(
        st.tuples(st.sampled_from(["constant", "dead", "unread", "twin", "tiny", "huge"]), st.integers(0, 39))
    ),
    exponent=st.integers(-30, 30),
)
def test_results_are_finite_and_do_not_depend_on_the_inputs_scale(
    seed: int, samples: int, units: int, width: int, flaws: list[tuple[str, int]], exponent: int
) -> None:
    columns = units * width
    rows = inputs(samples, columns, seed)
    given_problem = problem(rows, outputs=3, width=width, seed=seed)
    for flaw, place in flaws:
        column = place % columns
        match flaw:
            case "constant":
                rows[:, column] = 2.5
            case "dead":
                rows[:, column] = 0.0
            case "unread":
                given_problem.matrix[:, column] = 0.0
            case "twin":
                rows[:, column] = rows[:, (column + 1) % columns]
            case "tiny":
                rows[:, column] *= 1e-20
            case "huge":
                rows[:, column] *= 1e12
    built = problem(rows, outputs=3, width=width)
    plain = ConsumerProblem(given_problem.matrix, built.gram, built.columns)
    scale = np.append(np.full(columns, 2.0**exponent), 1.0)
    scaled = ConsumerProblem(plain.matrix / scale, plain.gram * scale * scale[:, None], plain.columns)
    first, second = eliminated([plain], range(units)), eliminated([scaled], range(units))
    last = 0.0
    for count in range(units - 1, -1, -1):
        assert list(first[count].kept) == list(second[count].kept)
        assert len(first[count].kept) == count
        assert np.isfinite(first[count].matrices[0]).all()
        np.testing.assert_allclose(second[count].matrices[0] * scale, first[count].matrices[0], rtol=1e-9)
        gone = np.setdiff1d(np.arange(units), first[count].kept)
        assert (first[count].matrices[0][:, plain.columns[gone].reshape(-1).astype(np.intp)] == 0).all()
        last = loss(plain, first[count])
    assert last <= 1.0 + 1e-9
