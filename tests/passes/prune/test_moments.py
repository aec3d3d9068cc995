import itertools
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.passes.prune.moments import (
    MOST_COLUMNS,
    InputMoments,
    is_shared,
    supports_moments,
    weight_matrix,
    weights_of_matrix,
)
from edgekit.passes.prune.network import Array, with_weights
from tests.passes.quantize.networks import Network, run


def node_of(model: ir.Model, op_type: str) -> ir.Node:
    return next(node for node in model.graph if node.op_type == op_type)


def patches(x: Array, kernel: tuple[int, ...], stride: int, pad: int, dilation: int, group: int) -> Array:
    """[group, rows, channels per group * kernel + 1], one position after the other, by the definition."""
    spatial = len(kernel)
    padded = np.pad(x, [(0, 0), (0, 0), *[(pad, pad)] * spatial])
    counts = [(size - (k - 1) * dilation - 1) // stride + 1 for size, k in zip(padded.shape[2:], kernel, strict=True)]
    rows = []
    for image in padded:
        for position in itertools.product(*map(range, counts)):
            window = tuple(
                slice(p * stride, p * stride + (k - 1) * dilation + 1, dilation)
                for p, k in zip(position, kernel, strict=True)
            )
            rows.append(image[(slice(None), *window)].reshape(group, -1))
    stacked = np.stack(rows, axis=1).astype(np.float64)
    return np.concatenate([stacked, np.ones((group, len(rows), 1))], axis=2)


def check(node: ir.Node, samples: list[Array], targets: list[Array], rows: Array, aims: Array) -> None:
    """``rows`` [blocks, rows, columns + 1] and ``aims`` [blocks, rows, outputs] over all samples."""
    moments = InputMoments.of(node, targets=True)
    for sample, target in zip(samples, targets, strict=True):
        moments.update(sample, target)
    assert moments.rows == rows.shape[1]
    gram = rows.transpose(0, 2, 1) @ rows
    assert np.allclose(moments.gram, gram, rtol=1e-5, atol=1e-5 * gram.max())
    assert moments.cross is not None
    cross = rows.transpose(0, 2, 1) @ aims
    assert np.allclose(moments.cross, cross, rtol=1e-5, atol=1e-5 * np.abs(cross).max())


def conv_model(shape: tuple[int, ...], weight: Array, bias: Array | None, **attributes: Any) -> ir.Model:
    n = Network(*shape)
    inputs = ["x", n.constant(weight, "w")]
    if bias is not None:
        inputs.append(n.constant(bias, "b"))
    return n.model(n.op("Conv", inputs, "y", kernel_shape=weight.shape[2:], **attributes))


@settings(max_examples=40, deadline=None)
@given(
    spatial=st.integers(1, 2),
    batch=st.integers(1, 3),
    group=st.sampled_from([1, 2, 4]),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    pad=st.integers(0, 2),
    dilation=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_of_a_convolution(**g: int) -> None:
    random = np.random.default_rng(g["seed"])
    spatial, group = g["spatial"], g["group"]
    kernel = (g["kernel"], 2)[:spatial]
    weight = random.normal(size=(8, 4 // group, *kernel)).astype(np.float32)
    bias = random.normal(size=8).astype(np.float32)
    shape = (g["batch"], 4, 7, 6)[: 2 + spatial]
    geometry = {
        "strides": [g["stride"]] * spatial,
        "pads": [g["pad"]] * 2 * spatial,
        "dilations": [g["dilation"]] * spatial,
    }
    model = conv_model(shape, weight, bias, group=group, **geometry)
    node = node_of(model, "Conv")
    samples = list(random.normal(size=(3, *shape)).astype(np.float32))
    outputs = [run(model, [{"x": sample}])[0].reshape(g["batch"], 8, -1) for sample in samples]
    rows = np.concatenate(
        [patches(sample, kernel, g["stride"], g["pad"], g["dilation"], group) for sample in samples], axis=1
    )
    aims = np.concatenate(outputs).reshape(3 * g["batch"], group, 8 // group, -1)
    aims = aims.transpose(1, 0, 3, 2).reshape(group, -1, 8 // group)
    assert np.allclose(rows @ weight_matrix(node).transpose(0, 2, 1), aims, atol=1e-4)
    targets = [output.astype(np.float32).reshape(g["batch"], 8, *node.outputs[0].shape[2:]) for output in outputs]
    check(node, samples, targets, rows, aims)


def gemm(kind: str, n: Network) -> str:
    weight = n.random.normal(size=(5, 3)).astype(np.float32)
    bias = n.random.normal(size=3).astype(np.float32)
    if kind == "Gemm":
        return n.op("Gemm", ["x", n.constant(weight, "w"), n.constant(bias, "b")], "y")
    if kind == "Gemm scaled":
        inputs = ["x", n.constant(weight.T.copy(), "w"), n.constant(bias[None], "b")]
        return n.op("Gemm", inputs, "y", transB=1, alpha=0.5, beta=2.0)
    product = n.op("MatMul", ["x", n.constant(weight, "w")], "product")
    return n.op("Add", [n.constant(bias, "b"), product], "y")


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("Gemm", (1, 5)),
        ("Gemm", (3, 5)),
        ("Gemm scaled", (3, 5)),
        ("MatMul and Add", (1, 5)),
        ("MatMul and Add", (2, 4, 5)),
    ],
)
def test_of_a_matrix_product(kind: str, shape: tuple[int, ...]) -> None:
    n = Network(*shape)
    model = n.model(gemm(kind, n))
    node = next(iter(model.graph))
    samples = list(n.random.normal(size=(4, *shape)).astype(np.float32))
    outputs = [run(model, [{"x": sample}])[0].reshape(-1, 3) for sample in samples]
    rows = np.concatenate(samples).reshape(1, -1, 5).astype(np.float64)
    rows = np.concatenate([rows, np.ones((1, rows.shape[1], 1))], axis=2)
    aims = np.concatenate(outputs)[None]
    assert np.allclose(rows @ weight_matrix(node).transpose(0, 2, 1), aims, atol=1e-5)
    targets = [output.astype(np.float32).reshape(*shape[:-1], 3) for output in outputs]
    check(node, samples, targets, rows, aims)


@pytest.mark.parametrize("kind", ["Gemm", "Gemm scaled", "MatMul and Add"])
def test_a_matrix_becomes_the_weights_that_give_it(kind: str) -> None:
    n = Network(2, 5)
    model = n.model(gemm(kind, n))
    node = next(iter(model.graph))
    matrix = n.random.normal(size=(1, 3, 6))
    changed = with_weights(model, weights_of_matrix(node, matrix))
    assert np.allclose(weight_matrix(next(iter(changed.graph))), matrix, atol=1e-6)
    assert np.allclose(weight_matrix(node, weights_of_matrix(node, matrix)), matrix, atol=1e-6)
    x = n.random.normal(size=(2, 5)).astype(np.float32)
    expected = x @ matrix[0, :, :-1].T + matrix[0, :, -1]
    assert np.allclose(run(changed, [{"x": x}])[0], expected.reshape(-1), atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(group=st.sampled_from([1, 2, 4]), bias=st.booleans(), seed=st.integers(0, 99))
def test_weights_go_there_and_back(group: int, bias: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    weight = random.normal(size=(8, 4 // group, 3, 2)).astype(np.float32)
    given_bias = random.normal(size=8).astype(np.float32) if bias else None
    node = node_of(conv_model((1, 4, 6, 6), weight, given_bias, group=group), "Conv")
    back = weights_of_matrix(node, weight_matrix(node))
    assert np.array_equal(back["w"], weight)
    assert set(back) == ({"w", "b"} if bias else {"w"})
    assert given_bias is None or np.array_equal(back["b"], given_bias)


def test_without_a_bias_the_one_is_alone() -> None:
    node = node_of(conv_model((1, 2, 4, 4), np.ones((3, 2, 1, 1), np.float32), None), "Conv")
    moments = InputMoments.of(node, targets=True)
    moments.update(np.ones((1, 2, 4, 4), np.float32), np.ones((1, 3, 4, 4), np.float32))
    assert moments.gram[0].tolist() == [[16, 16, 0], [16, 16, 0], [0, 0, 16]]
    assert moments.cross is not None
    assert moments.cross[0, -1].tolist() == [0, 0, 0]


def moments_of(node: ir.Node, samples: list[Array], most_rows: int | None = None) -> InputMoments:
    moments = InputMoments.of(node, most_rows=most_rows)
    for sample in samples:
        moments.update(sample)
    return moments


def large(count: int) -> tuple[ir.Node, list[Array]]:
    """More output positions than fit into one chunk."""
    weight = np.ones((4, 6, 3, 3), np.float32)
    node = node_of(conv_model((1, 6, 80, 80), weight, np.ones(4, np.float32)), "Conv")
    return node, list(np.random.default_rng(5).normal(size=(count, 1, 6, 80, 80)).astype(np.float32))


def test_halves_add_up_and_nothing_depends_on_when_sums_are_read() -> None:
    node, samples = large(6)
    whole = moments_of(node, samples)
    both = moments_of(node, samples[:2]).plus(moments_of(node, samples[2:]))
    assert both.rows == whole.rows == 6 * 78 * 78
    assert both.cross is None
    assert np.allclose(both.gram, whole.gram, rtol=1e-6, atol=1e-2)
    assert np.array_equal(whole.gram, moments_of(node, samples).gram)


def test_fewer_rows_are_nearly_the_same_moments() -> None:
    node, samples = large(4)
    few, whole = moments_of(node, samples, most_rows=1500), moments_of(node, samples)
    assert few.rows == 4 * 1500
    assert np.allclose(few.gram / few.rows, whole.gram / whole.rows, atol=0.12)
    assert not np.array_equal(few.gram / few.rows, whole.gram / whole.rows)


def test_shared_weights_are_known() -> None:
    n = Network(1, 4)
    weight = n.constant(n.random.normal(size=(4, 4)).astype(np.float32), "w")
    first = n.op("MatMul", ["x", weight], "first")
    second = n.op("MatMul", [n.op("Relu", [first], "relu"), weight], "second")
    last = n.op("MatMul", [second, n.constant(np.ones((4, 2), np.float32), "own")], "last")
    nodes = {node.name: node for node in n.model(last).graph}
    assert is_shared(nodes["first_node"]) and is_shared(nodes["second_node"])
    assert not is_shared(nodes["last_node"])
    assert supports_moments(nodes["first_node"])


def test_what_is_not_supported() -> None:
    n = Network(4, 4)
    square = n.constant(np.ones((4, 4), np.float32), "square")
    left = n.op("MatMul", [square, "x"], "left")
    both = n.op("MatMul", [left, "x"], "both")
    turned = n.op("Gemm", [both, square], "turned", transA=1)
    odd = n.op("Gemm", [turned, square, n.constant(np.ones((4, 1), np.float32), "column")], "odd")
    stack = n.op("MatMul", [odd, n.constant(np.ones((2, 4, 4), np.float32), "stack")], "stacked")
    nodes = {node.name: node for node in n.model(n.op("Relu", [stack], "relu")).graph}
    assert [name for name, node in nodes.items() if supports_moments(node)] == []


def test_a_transposed_convolution_and_a_wide_product_are_not_supported() -> None:
    n = Network(1, 2, 4, 4)
    model = n.model(n.op("ConvTranspose", ["x", n.constant(np.ones((2, 2, 2, 2), np.float32), "w")], "y"))
    assert not supports_moments(node_of(model, "ConvTranspose"))
    for columns in (MOST_COLUMNS, MOST_COLUMNS + 1):
        wide = Network(1, columns)
        node = node_of(wide.model(wide.gemm("x", np.ones((2, columns)), None, "y")), "Gemm")
        assert supports_moments(node) == (columns == MOST_COLUMNS)
