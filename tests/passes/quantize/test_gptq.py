import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.passes.quantize.gptq import _feedback, gptq_codes


def moments(random: np.random.Generator, groups: int, inputs: int, rows: int) -> np.ndarray:
    x = random.normal(size=(groups, rows, inputs)) @ random.normal(size=(groups, inputs, inputs)) * 20
    return x.transpose(0, 2, 1) @ x / rows


def loss(weight: np.ndarray, codes: np.ndarray, hessian: np.ndarray) -> float:
    error = weight - codes
    return float(np.einsum("goi,gij,goj->", error, hessian, error))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.sampled_from([1, 4, 9, 33, 70]), st.integers(1, 5))
def test_never_much_worse_and_usually_far_better_than_nearest(
    seed: int, groups: int, inputs: int, outputs: int
) -> None:
    random = np.random.default_rng(seed)
    hessian = moments(random, groups, inputs, 4 * inputs + 4)
    weight = random.uniform(-120, 120, size=(groups, outputs, inputs))
    codes = gptq_codes(weight, hessian, 127)
    nearest = loss(weight, np.rint(weight), hessian)
    assert np.array_equal(codes, np.rint(codes))
    assert np.abs(codes).max() <= 127
    # Greedy: over 2,000 random cases the worst was 1.25, the mean 0.66 below 33 inputs, 0.43 from there on.
    assert loss(weight, codes, hessian) <= (2.0 if inputs < 33 else 0.9) * nearest + 1e-9


def test_uncorrelated_inputs_round_to_nearest() -> None:
    weight = np.random.default_rng(0).uniform(-127, 127, size=(1, 6, 40))
    assert np.array_equal(gptq_codes(weight, np.eye(40)[None] * 9.0, 127), np.rint(weight))


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_singular_moments_are_no_obstacle(rank: int) -> None:
    random = np.random.default_rng(rank)
    x = random.normal(size=(rank, 20)) * 50
    weight = random.uniform(-120, 120, size=(1, 4, 20))
    hessian = (x.T @ x)[None]
    codes = gptq_codes(weight, hessian, 127)
    assert np.all(np.isfinite(codes))
    assert loss(weight, codes, hessian) <= loss(weight, np.rint(weight), hessian) + 1e-6


def test_the_feedback_factors_the_moments() -> None:
    hessian = moments(np.random.default_rng(5), 2, 90, 400)
    damped = hessian + 0.01 * np.diagonal(hessian, axis1=1, axis2=2).mean(axis=1)[:, None, None] * np.eye(90)
    upper = _feedback(hessian.copy())
    assert np.array_equal(upper, np.triu(upper))
    assert np.all(np.diagonal(upper, axis1=1, axis2=2) == 1)
    diagonal = np.linalg.solve(upper, damped) @ np.linalg.inv(upper).transpose(0, 2, 1)
    assert np.allclose(upper @ (diagonal * np.eye(90)) @ upper.transpose(0, 2, 1), damped)


def test_the_codes_are_those_of_the_paper() -> None:
    """Frantar et al. 2022, algorithm 1, column by column with the inverse's Cholesky factor."""
    random = np.random.default_rng(6)
    hessian = moments(random, 1, 70, 400)
    weight = random.uniform(-120, 120, size=(1, 5, 70))
    order = np.argsort(-np.diagonal(hessian[0]))
    damped = hessian[0] + 0.01 * np.diagonal(hessian[0]).mean() * np.eye(70)
    factor = np.linalg.cholesky(np.linalg.inv(damped[order][:, order])).T
    remaining, expected = weight[0][:, order].copy(), np.empty((5, 70))
    for i in range(70):
        expected[:, order[i]] = np.rint(remaining[:, i]).clip(-127, 127)
        error = (remaining[:, i] - expected[:, order[i]]) / factor[i, i]
        remaining[:, i:] -= error[:, None] * factor[i, i:]
    assert np.array_equal(gptq_codes(weight, hessian, 127)[0], expected)
