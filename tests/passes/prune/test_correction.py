import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.passes.prune.collecting import collect
from edgekit.passes.prune.correction import MOST_SCALE, correct_all, match
from edgekit.passes.prune.moments import InputMoments, weight_matrix
from edgekit.passes.prune.network import Array, activations, with_weights
from tests.passes.prune.test_refit import one_conv, redundant, without
from tests.passes.quantize.networks import images, mobile_network


@settings(max_examples=25, deadline=None)
@given(group=st.sampled_from([1, 2, 4]), deviation=st.booleans(), seed=st.integers(0, 99))
def test_outputs_get_the_targets_mean_and_deviation(group: int, deviation: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    node = one_conv(group, random)
    moments = InputMoments.of(node, targets=True)
    source = random.normal(1, 2, size=(1, 4, 9, 9)).astype(np.float32)
    matrix = weight_matrix(node)
    patches = np.stack([source[0, :, i : i + 8, j : j + 8].reshape(4, 64) for i in (0, 1) for j in (0, 1)], axis=1)
    rows = np.concatenate([patches.reshape(group, -1, 64), np.ones((group, 1, 64), np.float32)], axis=1)
    outputs = matrix @ rows
    aims = (outputs * random.uniform(0.6, 1.6, size=(group, 8 // group, 1)) + random.normal()).astype(np.float32)
    moments.update(source, aims.reshape(1, 8, 8, 8))
    found = match(matrix, moments, deviation=deviation) @ rows
    assert np.allclose(found.mean(axis=2), aims.mean(axis=2), atol=1e-4)
    wanted = aims if deviation else outputs
    assert np.allclose(found.std(axis=2), wanted.std(axis=2), rtol=1e-3)


def stepped(factor: float, bias: bool = True) -> tuple[Array, Array]:
    """The matrix of a convolution before and after matching targets ``factor`` times its outputs."""
    node = one_conv(1, np.random.default_rng(2), bias)
    moments = InputMoments.of(node, targets=True)
    random = np.random.default_rng(3)
    source = random.normal(size=(1, 4, 9, 9)).astype(np.float32)
    matrix = weight_matrix(node)
    matrix[:, 3] = 0
    patches = np.stack([source[0, :, i : i + 8, j : j + 8].reshape(4, 64) for i in (0, 1) for j in (0, 1)], axis=1)
    outputs = matrix[0, :, :-1] @ patches.reshape(16, 64) + matrix[0, :, -1:]
    outputs[3] = 1
    moments.update(source, (factor * outputs).reshape(1, 8, 8, 8).astype(np.float32))
    return matrix, match(matrix, moments, deviation=True)


def test_scales_are_bounded_and_removed_outputs_stay_away() -> None:
    matrix, found = stepped(100.0)
    assert not found[:, 3].any()
    alive = [0, 1, 2, 4, 5, 6, 7]
    assert np.allclose(found[:, alive, :-1], MOST_SCALE * matrix[:, alive, :-1])
    matrix, found = stepped(1.2)
    assert np.allclose(found[:, alive], 1.2 * matrix[:, alive], rtol=1e-4)


def test_a_layer_without_a_bias_cannot_be_corrected() -> None:
    matrix, found = stepped(1.2, bias=False)
    assert np.array_equal(matrix, found)


def test_a_constant_output_keeps_its_scale() -> None:
    node = one_conv(1, np.random.default_rng(2))
    moments = InputMoments.of(node, targets=True)
    random = np.random.default_rng(3)
    moments.update(np.full((1, 4, 9, 9), 0.7, np.float32), random.normal(size=(1, 8, 8, 8)).astype(np.float32))
    matrix = weight_matrix(node)
    assert np.array_equal(match(matrix, moments, deviation=True)[..., :-1], matrix[..., :-1])


@pytest.mark.parametrize("deviation", [False, True])
def test_the_whole_network_gets_the_float_means(deviation: bool) -> None:
    model, samples = redundant(), images(12, shape=(1, 3, 8, 8))
    weights = without(model, "wide_w", 0)
    corrected = correct_all(model, weights, samples, deviation=deviation)
    assert set(corrected) == {"wide_w", "wide_b", "y_w", "y_b"}
    assert not corrected["wide_w"][:, 0].any()
    exact, before, after = (
        np.concatenate([array for (array,) in activations(each, ["y"], samples)])
        for each in (model, with_weights(model, weights), with_weights(model, corrected))
    )
    assert np.allclose(after.mean(axis=(0, 2, 3)), exact.mean(axis=(0, 2, 3)), atol=1e-4)
    assert not np.allclose(before.mean(axis=(0, 2, 3)), exact.mean(axis=(0, 2, 3)), atol=1e-2)
    assert np.allclose(after.std(axis=(0, 2, 3)), exact.std(axis=(0, 2, 3)), rtol=1e-3) == deviation


def test_a_stream_that_lost_something_is_made_up_for() -> None:
    model, samples = mobile_network(), images(10)
    weights = without(model, "expand_w", 0, 1, 2)
    corrected = correct_all(model, weights, samples, deviation=False)
    exact = np.concatenate([array for (array,) in activations(model, ["joined"], samples)])
    found = np.concatenate([array for (array,) in activations(with_weights(model, corrected), ["joined"], samples)])
    assert np.allclose(found.mean(axis=(0, 2, 3)), exact.mean(axis=(0, 2, 3)), atol=1e-4)
    assert collect(model, corrected, ["logits_node"], samples)["logits_node"].rows == 10
