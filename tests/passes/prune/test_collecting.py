import tracemalloc

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.passes.prune.collecting import Goal, batches, collect, most_rows
from edgekit.passes.prune.layers import Layer, layer_of
from edgekit.passes.prune.network import Array, activations, with_weights
from tests.passes.quantize.networks import Network, images, mobile_network


def layers_of(model: ir.Model) -> dict[str, Layer]:
    """By the name of what they compute."""
    found = {node.outputs[0].name or "": layer_of(node) for node in model.graph}
    return {name: layer for name, layer in found.items() if layer is not None}


def halved(model: ir.Model, name: str) -> dict[str, Array]:
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return {name: tensor.numpy() * np.float32(0.5)}


def shortcut_network() -> ir.Model:
    """x -> first; then a convolution on the shortcut and two in the branch, added up."""
    n = Network(1, 4, 6, 6)
    r = n.random.normal
    first = n.op("Relu", [n.conv("x", r(size=(6, 4, 1, 1)), "first", r(size=6))], "first_relu")
    skip = n.conv(first, r(size=(5, 6, 1, 1)), "skip", r(size=5))
    wide = n.op("Relu", [n.conv(first, r(size=(8, 6, 3, 3)), "wide", r(size=8), pad=1)], "wide_relu")
    branch = n.conv(wide, r(size=(5, 8, 1, 1)), "branch", r(size=5))
    return n.model(n.op("Relu", [n.op("Add", [branch, skip], "joined")], "y"))


def test_inputs_are_the_pruned_networks_and_targets_the_float_ones() -> None:
    model, samples = mobile_network(), images(5)
    weights = halved(model, "stem_w")
    moments = collect(model, weights, ["expand_node", "depthwise_node"], samples, targets=True)
    assert list(moments) == ["expand_node", "depthwise_node"]
    pruned = list(activations(with_weights(model, weights), ["stem6"], samples))
    exact = list(activations(model, ["expand"], samples))
    rows = np.concatenate([array[0].reshape(8, -1).T for (array,) in pruned]).astype(np.float64)
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    aims = np.concatenate([array[0].reshape(16, -1).T for (array,) in exact])
    found = moments["expand_node"]
    assert found.rows == len(rows)
    assert found.cross is not None
    assert np.allclose(found.gram[0], rows.T @ rows, rtol=1e-5)
    assert np.allclose(found.cross[0], rows.T @ aims, rtol=1e-5, atol=1e-2)
    assert np.allclose(found.squares[0], np.square(aims, dtype=np.float64).sum(axis=0))


def test_the_last_term_of_an_add_makes_up_for_the_other() -> None:
    model, samples = mobile_network(), images(3)
    weights = halved(model, "stem_w")
    moments = collect(model, weights, ["project_node"], samples, targets=True)["project_node"]
    exact = activations(model, ["joined"], samples)
    pruned = activations(with_weights(model, weights), ["depthwise6", "stem6"], samples)
    cross = np.zeros((17, 8))
    for (joined,), (source, stream) in zip(exact, pruned, strict=True):
        rows = np.concatenate([source[0].reshape(16, -1), np.ones((1, 64), np.float32)]).astype(np.float64)
        cross += rows @ (joined - stream)[0].reshape(8, -1).T
    assert moments.cross is not None
    assert np.allclose(moments.cross[0], cross, rtol=1e-4, atol=1e-2)


def test_of_two_terms_only_the_one_computed_last() -> None:
    model = shortcut_network()
    goals = {name: Goal.of(layer) for name, layer in layers_of(model).items()}
    assert goals["skip"].reference.name == "skip" and goals["skip"].other is None
    assert goals["branch"].reference.name == "joined"
    assert goals["branch"].other is not None and goals["branch"].other.name == "skip"
    assert goals["wide"].reference.name == "wide"


def test_a_sum_of_another_shape_or_with_a_constant_is_no_residual() -> None:
    n = Network(1, 4)
    wide = n.gemm("x", n.random.normal(size=(1, 4)), None, "wide")
    spread = n.op("Add", [wide, "x"], "spread")
    shifted = n.op("MatMul", [spread, n.constant(np.ones((4, 4), np.float32), "w")], "product")
    biased = n.op("Add", [shifted, n.constant(np.ones((1, 4), np.float32), "b")], "biased")
    layers = layers_of(n.model(n.op("Add", [biased, spread], "y")))
    assert Goal.of(layers["wide"]) == Goal(layers["wide"].output, None)
    assert layers["product"].output.name == "biased"
    assert Goal.of(layers["product"]).reference.name == "y"


def test_batches_hold_what_does_not_depend_on_each_other() -> None:
    found = batches(layers_of(shortcut_network()).values())
    names = [[layer.node.outputs[0].name for layer in batch] for batch in found]
    # The branch aims at the sum without the skip, which must be final by then.
    assert names == [["first"], ["skip", "wide"], ["branch"]]


@pytest.mark.parametrize(("samples", "rows"), [(1, 64 * 36), (9, 256), (36, 64), (1000, 64), (None, None)])
def test_rows_are_enough_for_the_columns(samples: int | None, rows: int | None) -> None:
    node = layers_of(Network36().model)["y"].node
    assert most_rows(node, samples) == rows


class Network36:
    def __init__(self) -> None:
        n = Network(1, 4, 90, 90)
        self.model = n.model(n.conv("x", n.random.normal(size=(2, 4, 3, 3)), "y"))


def test_a_known_number_of_samples_limits_the_rows() -> None:
    model = Network36().model
    random = np.random.default_rng(0)
    samples = [{"x": random.normal(size=(1, 4, 90, 90)).astype(np.float32)} for _ in range(4)]
    assert collect(model, {}, ["y_node"], samples)["y_node"].rows == 64 * 36
    assert collect(model, {}, ["y_node"], iter(samples))["y_node"].rows == 4 * 88 * 88


def peak(count: int) -> int:
    model = mobile_network()
    random = np.random.default_rng(0)
    samples = ({"x": random.normal(size=(1, 3, 16, 16)).astype(np.float32)} for _ in range(count))
    tracemalloc.start()
    moments = collect(model, {}, ["expand_node", "project_node"], samples)
    size = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert moments["expand_node"].rows == 64 * count
    return size


def test_memory_does_not_grow_with_the_samples() -> None:
    peak(10)
    # One sample's values here are 24 KB; a hundred of them would be 2.4 MB.
    assert peak(400) < peak(100) + 500_000
