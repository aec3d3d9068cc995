from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.graph.patches import sampler_of
from edgekit.interface import Precision
from edgekit.passes.quantize import QuantizationScheme, calibrate, quantize
from edgekit.passes.quantize.moments import Moments
from edgekit.passes.quantize.qparams import choose_qparams, fake_quantize
from tests.passes.quantize.networks import Network, run

BEST = QuantizationScheme(Precision.INT8, observer="mse", rounding="gptq", bias_correction=True)


def node_of(model: ir.Model, op_type: str) -> ir.Node:
    return next(node for node in model.graph if node.op_type == op_type)


@settings(max_examples=20, deadline=None)
@given(
    group=st.sampled_from([1, 2, 4]),
    kernel=st.sampled_from([(1, 1), (3, 3), (5, 1)]),
    stride=st.integers(1, 2),
    pad=st.integers(0, 1),
    seed=st.integers(0, 99),
)
def test_rows_times_weights_are_the_convolution(group: int, kernel: Any, stride: int, pad: int, seed: int) -> None:
    n = Network(1, 4, 7, 6, seed=seed)
    weight = n.random.normal(size=(8, 4 // group, *kernel)).astype(np.float32)
    model = n.model(n.conv("x", weight, "y", group=group, stride=stride, pad=pad))
    x = n.random.normal(size=(1, 4, 7, 6)).astype(np.float32)
    rows = sampler_of(node_of(model, "Conv"), 10_000).rows(x)
    products = rows @ weight.reshape(group, 8 // group, -1).transpose(0, 2, 1)
    expected = run(model, [{"x": x}])[0].reshape(group, 8 // group, -1)
    assert np.allclose(products.transpose(0, 2, 1), expected, atol=1e-4)


def test_rows_of_a_matrix_product() -> None:
    n = Network(1, 5, 6)
    weight = n.random.normal(size=(6, 3)).astype(np.float32)
    model = n.model(n.op("MatMul", ["x", n.constant(weight, "w")], "y"))
    x = n.random.normal(size=(1, 5, 6)).astype(np.float32)
    assert np.array_equal(sampler_of(node_of(model, "MatMul"), 100).rows(x), x)
    assert sampler_of(node_of(model, "MatMul"), 2).rows(x).shape == (1, 2, 6)


def collected(samples: list[np.ndarray]) -> Moments:
    n = Network(1, 4, 9, 9)
    node = node_of(n.model(n.conv("x", n.random.normal(size=(6, 2, 3, 3)), "y", group=2, pad=1)), "Conv")
    moments = Moments.of(node, choose_qparams(-1.5, 2.0), len(samples))
    for sample in samples:
        moments.update(moments.rows_of(sample))
    moments.flush()
    return moments


def draw(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(3).normal(size=(count, 1, 4, 9, 9)).astype(np.float32))


def test_moments_are_those_of_the_fake_quantized_rows() -> None:
    samples = draw(30)
    moments = collected(samples)
    exact = np.concatenate([moments.sampler.rows(sample) for sample in samples], axis=1).astype(np.float64)
    rows = fake_quantize(exact, moments.qparams).astype(np.float64)
    step = float(moments.qparams.scale)
    mean = rows.mean(axis=1)
    covariance = np.einsum("gri,grj->gij", rows, rows) / rows.shape[1] - mean[:, :, None] * mean[:, None, :]
    assert np.allclose(moments.mean(), mean)
    assert np.allclose(moments.second_moment(centered=True) * step**2, covariance, atol=1e-6)
    about_zero = covariance + mean[:, :, None] * mean[:, None, :]
    assert np.allclose(moments.second_moment(centered=False) * step**2, about_zero, atol=1e-6)
    assert np.allclose(moments.mean_error(), (exact - rows).mean(axis=1), atol=step / 200)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_samples_changes_no_bit(seed: int) -> None:
    samples = draw(50)
    first = collected(samples)
    np.random.default_rng(seed).shuffle(samples)
    second = collected(samples)
    for left, right in (
        (first.mean(), second.mean()),
        (first.mean_error(), second.mean_error()),
        (first.second_moment(centered=True), second.second_moment(centered=True)),
    ):
        assert np.array_equal(left, right)


def test_inputs_that_never_vary_have_no_covariance() -> None:
    constant = np.full((1, 4, 9, 9), 1.3, np.float32)
    moments = collected([constant] * 7)
    inside = moments.second_moment(centered=True)[:, 4, 4]
    assert inside.tolist() == [0.0, 0.0]


def test_very_wide_weights_keep_means_only() -> None:
    n = Network(1, 2400)
    model = n.model(n.gemm("x", n.random.normal(size=(2, 2400)), None, "y"))
    moments = Moments.of(node_of(model, "Gemm"), choose_qparams(-1, 1), 1)
    moments.update(moments.rows_of(np.full((1, 2400), 0.5, np.float32)))
    moments.flush()
    assert not moments.pairs
    assert np.allclose(moments.mean() + moments.mean_error(), 0.5, atol=1e-4)
    network = quantize(model, BEST, calibrate(model, [{"x": np.full((1, 2400), 0.5, np.float32)}]))
    assert any(node.op_type == "QuantizeLinear" for node in network.graph)
