import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.passes.prune.loss import MOST_WIDTH, BernoulliKL, CategoricalKL, Comparison, OutputLoss, SquaredError
from tests.passes.prune.networks import Builder

SAMPLES, CLASSES = 4, 6


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def kinds(seed: int) -> list[Comparison]:
    reference = np.random.default_rng(seed).normal(size=(SAMPLES, CLASSES)) * 3
    return [CategoricalKL(reference, CLASSES), BernoulliKL(reference), SquaredError(reference, [CLASSES])]


def classifier(*last: str) -> OutputLoss:
    build = Builder(1, 3, 4, 4)
    output = build.head(build.conv("x", 8), CLASSES)
    for op_type in last:
        output = build.op(op_type, output)
    return OutputLoss(build.model(output))


@given(st.integers(0, 100), st.floats(0.01, 30))
@settings(max_examples=30, deadline=None)
def test_kl_is_that_of_the_definition(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    before, change = rng.normal(size=(SAMPLES, CLASSES)), rng.normal(size=(SAMPLES, CLASSES)) * scale
    p, q = softmax(before), softmax(before + change)
    wanted = (p * (np.log(p) - np.log(np.maximum(q, 1e-300)))).sum(axis=1).mean()
    (found,) = CategoricalKL(before, CLASSES).losses(change[None])
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-12)


@given(st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_the_expansion_is_of_second_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(SAMPLES, CLASSES)) * 0.5
    moves = rng.normal(size=(3, SAMPLES, CLASSES)) * 1e-3
    for comparison in kinds(seed):
        slope, curvature = comparison.expand(start, moves)
        before, after = comparison.losses(np.stack([start, start + moves.sum(axis=0)]))
        assert after - before == pytest.approx(slope.sum() + curvature.sum() / 2, rel=1e-2, abs=1e-8)


@given(st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_nothing_changed_costs_nothing_and_any_change_something(seed: int) -> None:
    change = np.random.default_rng(seed).normal(size=(SAMPLES, CLASSES))
    for comparison in kinds(seed):
        nothing, something = comparison.losses(np.stack([np.zeros_like(change), change]))
        assert nothing == pytest.approx(0, abs=1e-12)
        assert something > 1e-6


def test_squared_errors_of_outputs_count_alike_whatever_their_scale() -> None:
    rng = np.random.default_rng(0)
    reference = np.hstack([rng.normal(size=(SAMPLES, 2)), rng.normal(size=(SAMPLES, 4)) * 1000])
    comparison = SquaredError(reference, [2, 4])
    first, second = reference.copy(), reference.copy()
    first[:, 2:], second[:, :2] = 0, 0
    ones = comparison.losses(np.stack([first * 0.1, second * 0.1]))
    means = [np.square(part).mean() / part.var() * 0.01 / 2 for part in (reference[:, :2], reference[:, 2:])]
    assert ones == pytest.approx(means)


def test_scores_behind_a_softmax_are_compared_as_logits() -> None:
    logits, scores = classifier(), classifier("Softmax")
    assert logits.name == scores.name == "KL (nats)"
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, 5, 1, CLASSES))
    of_logits = logits.loss(*(np.stack([logits.row([row]) for row in rows]) for rows in (before, after)))
    of_scores = scores.loss(*(np.stack([scores.row([softmax(row)]) for row in rows]) for rows in (before, after)))
    assert of_scores == pytest.approx(of_logits, rel=1e-4)


@pytest.mark.parametrize(("converts", "attributes"), [("Cast", {"to": 1}), ("Dropout", {})])
@pytest.mark.parametrize("scores", ["Softmax", "Sigmoid"])
def test_probabilities_that_are_converted_are_still_probabilities(
    scores: str, converts: str, attributes: dict[str, int]
) -> None:
    build = Builder(1, 3, 4, 4)
    output = build.op(scores, build.head(build.conv("x", 8), CLASSES))
    plain, converted = classifier(scores), OutputLoss(build.plain(build.op(converts, output, **attributes)))
    p, q = np.random.default_rng(0).dirichlet(np.ones(CLASSES), size=(2, 1)).astype(np.float32)
    wanted = plain.loss(plain.row([p])[None], plain.row([q])[None])
    assert wanted > 0.1
    assert converted.loss(converted.row([p])[None], converted.row([q])[None]) == pytest.approx(wanted, rel=1e-6)


def test_independent_labels_are_compared_one_by_one() -> None:
    loss = classifier("Sigmoid")
    p, q = np.random.default_rng(0).uniform(0.1, 0.9, size=(2, 1, CLASSES))
    wanted = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum()
    assert loss.loss(loss.row([p])[None], loss.row([q])[None]) == pytest.approx(wanted, rel=1e-5)


def test_each_sample_of_a_batch_has_its_own_classes() -> None:
    build = Builder(2, 3, 4, 4)
    loss = OutputLoss(build.model(build.head(build.conv("x", 8), CLASSES)))
    before, after = np.random.default_rng(0).normal(size=(2, 2, CLASSES))
    p, q = softmax(before), softmax(after)
    wanted = (p * np.log(p / q)).sum(axis=1).mean()
    assert loss.loss(loss.row([before])[None], loss.row([after])[None]) == pytest.approx(wanted, rel=1e-5)


def test_of_large_outputs_a_fixed_sample_is_compared() -> None:
    build = Builder(1, 3, 64, 64)
    model = build.model(build.conv("x", 8), build.op("GlobalAveragePool", build.conv("x", 4)))
    numbers = np.random.default_rng(0).normal(size=8 * 64 * 64 + 4).astype(np.float32)
    arrays = [numbers[:-4].reshape(1, 8, 64, 64), numbers[-4:].reshape(1, 4, 1, 1)]
    loss = OutputLoss(model)
    row = loss.row(arrays)
    assert loss.name == "relative squared error"
    assert row.shape == (MOST_WIDTH // 2 + 4,)
    assert np.array_equal(row, OutputLoss(model).row(arrays))
    assert np.isin(row, numbers).all()


def test_what_is_joined_to_one_output_counts_by_itself() -> None:
    build = Builder(1, 3, 4, 4)
    boxes = build.op("Mul", build.conv("x", 4), build.constant(np.float32(320)))
    scores = build.op("Sigmoid", build.conv("x", 6))
    loss = OutputLoss(build.plain(build.op("Concat", boxes, scores, axis=1)))
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.uniform(0, 320, (20, 4, 4, 4)), rng.beta(0.1, 1, (20, 6, 4, 4))], axis=1)
    without_boxes, without_scores = rows.copy(), rows.copy()
    without_boxes[:, :4], without_scores[:, 4:] = 160, 1e-6
    before = np.stack([loss.row([row]) for row in rows])
    for changed in (without_boxes, without_scores):
        assert loss.loss(before, np.stack([loss.row([row]) for row in changed])) > 0.4


def test_few_rows_are_held_against_the_variance_of_all() -> None:
    rng = np.random.default_rng(0)
    everything = 100 * rng.normal(size=(SAMPLES, 4)) + rng.normal(size=4)
    few = everything[:1]  # with a variance of its own that says nothing
    (loss,) = SquaredError(few, [4], everything).losses(np.ones((1, 1, 4)))
    assert loss == pytest.approx(1 / everything.var())


def test_an_output_that_varies_by_rounding_alone_counts_as_constant() -> None:
    reference = np.random.default_rng(0).normal(size=(SAMPLES, 2))
    reference[:, 1] = 1 - 6e-8 * np.arange(SAMPLES)
    loss = SquaredError(reference, [1, 1])
    (found,) = loss.losses(np.full((1, SAMPLES, 2), [0, 1e-3]))
    assert found == pytest.approx(1e-6 / 2, rel=1e-4)


def test_class_numbers_beside_logits_change_nothing() -> None:
    build = Builder(1, 3, 4, 4)
    logits = build.head(build.conv("x", 8), CLASSES)
    loss = OutputLoss(build.model(build.op("ArgMax", logits, axis=1), logits))
    assert loss.name == "KL (nats)"
    row = np.arange(CLASSES, dtype=np.float32)[None]
    np.testing.assert_array_equal(loss.row([np.array([3]), row]), row[0])
