from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.passes.prune.collecting import collect
from edgekit.passes.prune.moments import InputMoments, weight_matrix, weights_of_matrix
from edgekit.passes.prune.network import Array, with_weights
from edgekit.passes.prune.refit import changed_layers, refit_all, ridge
from tests.passes.prune.test_collecting import shortcut_network
from tests.passes.quantize.networks import Network, images, mobile_network, run


def node_called(model: ir.Model, name: str) -> ir.Node:
    return next(node for node in model.graph if node.name == name)


def array(model: ir.Model, name: str) -> Array:
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()


def without(model: ir.Model, name: str, *channels: int) -> dict[str, Array]:
    """A weight whose input ``channels`` are removed."""
    changed = array(model, name).copy()
    changed[:, list(channels)] = 0
    return {name: changed}


def error(model: ir.Model, weights: dict[str, Array], samples: list[dict[str, Array]]) -> float:
    exact, found = run(model, samples), run(with_weights(model, weights), samples)
    return float(np.square(exact - found).mean() / np.square(exact - exact.mean(axis=0)).mean())


def one_conv(group: int, random: np.random.Generator, bias: bool = True) -> ir.Node:
    n = Network(1, 4, 9, 9)
    weight = random.normal(size=(8, 4 // group, 2, 2))
    return node_called(n.model(n.conv("x", weight, "y", random.normal(size=8) if bias else None, group)), "y_node")


@settings(max_examples=25, deadline=None)
@given(
    group=st.sampled_from([1, 2, 4]),
    damping=st.sampled_from([1e-4, 1e-2, 1.0]),
    removed=st.booleans(),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_ridge_is_the_least_squares_solution(group: int, damping: float, removed: bool, bias: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    node = one_conv(group, random, bias)
    moments = InputMoments.of(node, targets=True)
    source = random.normal(size=(1, 4, 9, 9)).astype(np.float32)
    aim = random.normal(size=(1, 8, 8, 8)).astype(np.float32)
    moments.update(source, aim)
    matrix = weight_matrix(node)
    if removed:
        matrix[:, :, :3] = 0
    found = ridge(matrix, moments, damping)
    patches = np.stack([source[0, :, i : i + 8, j : j + 8].reshape(4, 64) for i in (0, 1) for j in (0, 1)], axis=1)
    rows = patches.reshape(group, -1, 64).transpose(0, 2, 1).astype(np.float64)
    rows = np.concatenate([rows, np.full((group, 64, 1), float(bias))], axis=2)
    for block in range(group):
        kept = np.flatnonzero(matrix[block].any(axis=0) | (np.arange(rows.shape[2]) == rows.shape[2] - 1))
        inputs = kept[kept < rows.shape[2] - 1]
        size = damping * np.square(rows[block][:, inputs]).sum(axis=0).mean()
        weight = np.sqrt(np.where(kept < rows.shape[2] - 1, size, 1e-3 * size))
        t = aim[0].reshape(group, 8 // group, 64)[block].T.astype(np.float64)
        system = np.concatenate([rows[block][:, kept], np.diag(weight)])
        right = np.concatenate([t, weight[:, None] * matrix[block][:, kept].T])
        expected = np.linalg.lstsq(system, right, rcond=None)[0].T
        assert np.allclose(found[block][:, kept], expected, atol=1e-4)
    assert not removed or not found[:, :, :3].any()
    assert bias or not found[:, :, -1].any()


def test_outputs_that_are_zero_stay_zero_and_a_sleeping_input_is_no_trouble() -> None:
    random = np.random.default_rng(0)
    node = one_conv(1, random)
    moments = InputMoments.of(node, targets=True)
    source = random.normal(size=(1, 4, 9, 9)).astype(np.float32)
    source[:, 2] = 0
    moments.update(source, random.normal(size=(1, 8, 8, 8)).astype(np.float32))
    matrix = weight_matrix(node)
    matrix[:, 5] = 0
    found = ridge(matrix, moments)
    assert not found[:, 5].any()
    assert np.array_equal(found[:, :, 8:12], matrix[:, :, 8:12])
    assert not np.allclose(found[:, 0], matrix[:, 0])
    silent = InputMoments.of(node, targets=True)
    silent.update(np.zeros_like(source), np.ones((1, 8, 8, 8), np.float32))
    quiet = ridge(matrix, silent)
    assert np.array_equal(quiet[..., :-1], matrix[..., :-1])
    assert np.allclose(quiet[0, [0, 7], -1], 1, atol=1e-4)


def redundant() -> ir.Model:
    """A hidden channel that is always the sum of two others."""
    n = Network(1, 3, 8, 8)
    weight, bias = n.random.normal(size=(4, 3, 1, 1)), n.random.normal(size=4)
    weight[3], bias[3] = weight[0] + 0.5 * weight[1], bias[0] + 0.5 * bias[1] + 0.25
    hidden = n.conv("x", weight, "hidden", bias)
    wide = n.op("Sigmoid", [n.conv(hidden, n.random.normal(size=(6, 4, 3, 3)), "wide", n.random.normal(size=6))], "s")
    return n.model(n.conv(wide, n.random.normal(size=(2, 6, 1, 1)), "y", n.random.normal(size=2)))


def test_what_others_can_give_is_removed_without_any_loss() -> None:
    model, samples = redundant(), images(8, shape=(1, 3, 8, 8))
    weights = without(model, "wide_w", 3)
    refitted = refit_all(model, weights, samples, damping=1e-9)
    unseen = images(4, seed=9, shape=(1, 3, 8, 8))
    assert error(model, weights, unseen) > 0.1
    assert error(model, refitted, unseen) < 1e-6
    assert not refitted["wide_w"][:, 3].any()


def test_every_later_layer_is_refitted_and_no_earlier_one() -> None:
    model, samples = mobile_network(), images(64)
    weights = without(model, "project_w", 1, 2, 3, 4)
    done: list[int] = []
    refitted = refit_all(model, weights, samples, advance=done.append)
    assert set(refitted) == {"project_w", "project_b", "logits_w", "logits_b"}
    assert done == [1, 2]
    assert not refitted["project_w"][:, 1:5].any()
    unseen = images(32, seed=5)
    assert error(model, refitted, unseen) < 0.7 * error(model, weights, unseen)


def test_the_given_weights_and_the_model_stay_as_they_are() -> None:
    model, samples = mobile_network(), images(6)
    weights = without(model, "depthwise_w") | without(model, "project_w", 0, 1)
    copies = {name: each.copy() for name, each in weights.items()}
    before = run(model, samples)
    first = refit_all(model, weights, samples)
    second = refit_all(model, weights, samples)
    assert all(np.array_equal(weights[name], copies[name]) for name in copies)
    assert np.array_equal(run(model, samples), before)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_layers_that_only_serve_a_dropped_branch_are_left_alone() -> None:
    model = shortcut_network()
    zeros = {name: np.zeros_like(array(model, name)) for name in ("branch_w", "branch_b")}
    weights = zeros | without(model, "first_w", 0)
    assert [layer.node.name for layer in changed_layers(model, weights)] == ["first_node", "skip_node"]
    samples = images(6, shape=(1, 4, 6, 6))
    refitted = refit_all(model, weights, samples)
    assert not refitted["branch_w"].any() and not refitted["branch_b"].any()
    assert "wide_w" not in refitted


def test_what_is_unchanged_is_not_refitted() -> None:
    model = mobile_network()
    assert refit_all(model, {}, images(2)) == {}
    same = {"stem_w": array(model, "stem_w").copy()}
    assert changed_layers(model, same) == []


def shared() -> ir.Model:
    n = Network(2, 4)
    weight = n.constant(n.random.normal(size=(4, 4)).astype(np.float32), "w")
    first = n.op("Relu", [n.gemm("x", n.random.normal(size=(4, 4)), n.random.normal(size=4), "first")], "first_relu")
    second = n.op("MatMul", [first, weight], "second")
    third = n.op("MatMul", [n.op("Relu", [second], "second_relu"), weight], "third")
    return n.model(n.gemm(third, n.random.normal(size=(3, 4)), n.random.normal(size=3), "y"))


def test_shared_weights_are_skipped() -> None:
    model = shared()
    random = np.random.default_rng(1)
    samples = [{"x": random.normal(size=(2, 4)).astype(np.float32)} for _ in range(40)]
    weights = without(model, "first_w", 1)
    refitted = refit_all(model, weights, samples)
    assert set(refitted) == {"first_w", "first_b", "y_w", "y_b"}
    assert error(model, refitted, samples) < error(model, weights, samples)


def sequence(n: Network) -> ir.Model:
    """A MatMul with its bias in an Add behind it, on [batch, time, features]."""
    product = n.op("MatMul", ["x", n.constant(n.random.normal(size=(6, 8)).astype(np.float32), "up")], "product")
    biased = n.op("Add", [product, n.constant(n.random.normal(size=8).astype(np.float32), "up_b")], "biased")
    active = n.op("Relu", [biased], "active")
    down = n.op("MatMul", [active, n.constant(n.random.normal(size=(8, 6)).astype(np.float32), "down")], "down_product")
    return n.model(n.op("Add", [n.op("Add", [down, n.constant(np.ones(6, np.float32), "down_b")], "d"), "x"], "y"))


def line(n: Network) -> ir.Model:
    """Convolutions along one axis."""
    r = n.random.normal
    hidden = n.op("Relu", [n.conv("x", r(size=(8, 6, 3)), "up", r(size=8), pad=1)], "active")
    return n.model(n.conv(hidden, r(size=(4, 8, 3)), "down", r(size=4), stride=2))


@pytest.mark.parametrize(
    ("build", "shape", "axis", "names"),
    [
        (sequence, (3, 5, 6), 0, {"down", "down_b"}),
        (sequence, (1, 5, 6), 0, {"down", "down_b"}),
        (line, (1, 6, 20), 1, {"down_w", "down_b"}),
        (line, (4, 6, 20), 1, {"down_w", "down_b"}),
    ],
)
def test_sequences_and_batches(build: Any, shape: tuple[int, ...], axis: int, names: set[str]) -> None:
    n = Network(*shape, seed=3)
    model = build(n)
    name = next(each for each in sorted(names) if not each.endswith("_b"))
    changed = np.moveaxis(array(model, name).copy(), axis, 0)
    changed[:3] = 0
    weights = {name: np.ascontiguousarray(np.moveaxis(changed, 0, axis))}
    samples = [{"x": n.random.normal(size=shape).astype(np.float32)} for _ in range(60)]
    refitted = refit_all(model, weights, samples)
    assert set(refitted) == names
    assert error(model, refitted, samples[:20]) < 0.75 * error(model, weights, samples[:20])
    assert not np.moveaxis(refitted[name], axis, 0)[:3].any()


def test_one_step_by_hand_is_the_whole() -> None:
    model, samples = redundant(), images(6, shape=(1, 3, 8, 8))
    weights = without(model, "y_w", 0, 1)
    node = node_called(model, "y_node")
    moments = collect(model, weights, ["y_node"], samples, targets=True)["y_node"]
    by_hand = weights_of_matrix(node, ridge(weight_matrix(node, weights), moments))
    refitted = refit_all(model, weights, samples)
    assert all(np.array_equal(by_hand[name], refitted[name]) for name in ("y_w", "y_b"))
