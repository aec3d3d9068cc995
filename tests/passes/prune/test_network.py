from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.errors import DataError
from edgekit.passes.prune.network import Array, Suffix, activations, with_weights
from tests.passes.quantize.networks import Network, images, mobile_network, run


def weight(model: ir.Model, name: str) -> Array:
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()


def zeroed(model: ir.Model, name: str) -> dict[str, Array]:
    """One weight whose first input channels are gone."""
    changed = weight(model, name).copy()
    changed[:, : -(-changed.shape[1] // 2)] = 0
    return {name: changed}


def entering(suffix: Suffix, model: ir.Model, samples: list[dict[str, Array]]) -> list[dict[str, Array]]:
    return [dict(zip(suffix.entering, arrays, strict=True)) for arrays in activations(model, suffix.entering, samples)]


def test_weights_are_replaced_in_a_clone() -> None:
    model, samples = mobile_network(), images(3)
    before = run(model, samples)
    changed = zeroed(model, "project_w")
    clone = with_weights(model, changed)
    assert weight(clone, "project_w") is changed["project_w"]
    assert np.array_equal(run(model, samples), before)
    assert not np.allclose(run(clone, samples), before)
    assert [node.name for node in clone.graph] == [node.name for node in model.graph]


def test_an_unknown_weight_is_a_mistake() -> None:
    with pytest.raises(KeyError, match="nobody"):
        with_weights(mobile_network(), {"nobody": np.zeros(1, np.float32)})


def test_activations_are_those_of_a_plain_run_and_belong_to_the_caller() -> None:
    model, samples = mobile_network(), images(12)
    values = {value.name: value for node in model.graph for value in node.outputs}
    whole = model.clone()
    by_name = {value.name: value for node in whole.graph for value in node.outputs}
    whole.graph.outputs.insert(0, by_name["depthwise6"])
    expected = run(whole, samples)
    seen = list(activations(model, ["depthwise6", "x"], samples))
    assert values["depthwise6"].shape == seen[0][0].shape
    for (found, source), row, sample in zip(seen, expected, samples, strict=True):
        assert np.allclose(found.reshape(-1), row, atol=1e-5)
        assert np.array_equal(source, sample["x"])


def test_activations_of_no_samples_are_none_and_inputs_must_be_there() -> None:
    assert list(activations(mobile_network(), ["logits"], [])) == []
    with pytest.raises(DataError, match="no array 'x'"):
        list(activations(mobile_network(), ["logits"], [{}]))


@pytest.mark.parametrize("nodes", [["project_node"], ["depthwise_node"], ["stem_node"], ["logits_node"]])
def test_a_suffix_gives_what_the_whole_network_gives(nodes: list[str]) -> None:
    model, samples = mobile_network(), images(4)
    name = nodes[0].replace("_node", "_w")
    suffix = Suffix(model, nodes, [name])
    changed = zeroed(model, name)
    values = entering(suffix, model, samples)
    for weights, expected in (({}, run(model, samples)), (changed, run(with_weights(model, changed), samples))):
        found = np.stack([suffix.run(each, weights)[0].reshape(-1) for each in values])
        assert np.allclose(found, expected, atol=1e-5)


def test_what_enters_a_suffix_is_what_others_compute() -> None:
    model = mobile_network()
    assert set(Suffix(model, ["depthwise_node"], []).entering) == {"expand6", "stem6"}
    assert Suffix(model, ["stem_node"], []).entering == ("x",)


def two_heads() -> ir.Model:
    n = Network(1, 4)
    left = n.op("Relu", [n.gemm("x", n.random.normal(size=(6, 4)), n.random.normal(size=6), "left")], "left_relu")
    right = n.gemm("x", n.random.normal(size=(6, 4)), None, "right")
    return n.model(right, n.op("Add", [left, right], "sum"), n.gemm(left, n.random.normal(size=(2, 6)), None, "out"))


def test_an_output_that_is_not_computed_is_passed_through() -> None:
    model = two_heads()
    sample = {"x": np.linspace(-1, 1, 4, dtype=np.float32).reshape(1, 4)}
    suffix = Suffix(model, ["out_node"], ["out_w"])
    assert set(suffix.entering) == {"right", "sum", "left_relu"}
    (values,) = entering(suffix, model, [sample])
    right, both, out = suffix.run(values, {"out_w": np.zeros((2, 6), np.float32)})
    assert right is values["right"] and both is values["sum"]
    assert out.tolist() == [[0, 0]]


def test_a_suffix_of_several_nodes_has_no_other_weights() -> None:
    model = two_heads()
    suffix = Suffix(model, ["left_node", "right_node"], ["left_w", "left_b", "right_w"])
    assert suffix.entering == ("x",)
    zeros = {name: np.zeros_like(weight(model, name)) for name in ("left_w", "left_b", "right_w")}
    outputs = suffix.run({"x": np.ones((1, 4), np.float32)}, zeros)
    assert [output.any() for output in outputs] == [False, False, False]
    own = suffix.run({"x": np.ones((1, 4), np.float32)}, {})
    assert all(output.any() for output in own)


def test_threads_share_a_suffix() -> None:
    model, samples = mobile_network(), images(24)
    suffix = Suffix(model, ["project_node"], ["project_w"])
    values = entering(suffix, model, samples)
    alone = [suffix.run(each, {})[0] for each in values]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: suffix.run(each, {})[0], values))
    assert all(np.array_equal(left, right) for left, right in zip(alone, together, strict=True))
