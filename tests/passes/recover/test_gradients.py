"""Gradient times activation against differences of the loss that onnxruntime measures."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from edgekit.errors import DataError, UnsupportedError
from edgekit.passes.recover.gradients import gradients
from tests.exporters.tflite.graphs import Builder, random_feeds, reference

F = np.float32


def network(*, scores: str | None = None, custom: str | None = None) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    builder = Builder()
    x = builder.input("x", (1, 3, 6, 6))
    hidden = builder.node("Conv", [x, rng.normal(size=(4, 3, 3, 3)).astype(F)], "hidden")
    smooth = builder.node("Softplus", [hidden], "smooth")
    if custom:
        smooth = builder.node(custom, [smooth])
    pooled = builder.node("GlobalAveragePool", [smooth])
    flat = builder.node("Flatten", [pooled], "flat")
    y = builder.node("Gemm", [flat, rng.normal(size=(4, 5)).astype(F), rng.normal(size=5).astype(F)], "logits")
    return builder.model(builder.node(scores, [y], "y") if scores else y)


def loss_without(model: onnx.ModelProto, feeds: dict[str, np.ndarray], channel: int, share: float) -> float:
    """The loss when a share of one channel of ``smooth`` is taken away."""
    shrunk = onnx.ModelProto()
    shrunk.CopyFrom(model)
    gain = np.ones((1, 4, 1, 1), F)
    gain[0, channel] -= share
    shrunk.graph.initializer.append(onnx.numpy_helper.from_array(gain, "gain"))
    for node in shrunk.graph.node:
        node.input[:] = ["scaled" if name == "smooth" else name for name in node.input]
    place = next(i for i, node in enumerate(shrunk.graph.node) if "smooth" in node.output)
    shrunk.graph.node.insert(place + 1, helper.make_node("Mul", ["smooth", "gain"], ["scaled"]))
    top = reference(model, feeds)[model.graph.output[0].name].argmax()
    y = reference(shrunk, feeds)[model.graph.output[0].name].astype(np.float64).ravel()
    probabilities = y if model.graph.output[0].name == "y" else np.exp(y) / np.exp(y).sum()
    return float(-np.log(probabilities[top]))


@pytest.mark.parametrize("scores", [None, "Softmax"])
def test_predicts_what_a_channel_less_costs(scores: str | None) -> None:
    model = network(scores=scores)
    samples = [random_feeds(model, seed) for seed in range(3)]
    found = list(gradients(ir.from_proto(model), ["smooth", "flat"], samples))
    assert len(found) == 3
    assert found[0]["smooth"].shape == (1, 4, 4, 4)
    for feeds, products in zip(samples, found, strict=True):
        per_channel = products["smooth"].sum(axis=(0, 2, 3))
        np.testing.assert_allclose(per_channel, products["flat"][0], rtol=1e-4)
        share = 1e-2
        for channel in range(4):
            both = [loss_without(model, feeds, channel, sign * share) for sign in (-1, 1)]
            np.testing.assert_allclose((both[0] - both[1]) / (2 * share), per_channel[channel], rtol=1e-2, atol=1e-4)


def test_a_regression_is_judged_by_the_size_of_its_outputs() -> None:
    builder = Builder()
    x = builder.input("x", (1, 3))
    builder.node("Relu", [x], "y")
    model = builder.model("y")
    feeds = {"x": np.array([[1, -2, 3]], F)}
    (found,) = gradients(ir.from_proto(model), ["y"], [feeds])
    np.testing.assert_allclose(found["y"], [[1, 0, 9]])


def test_what_cannot_be_trained_names_the_node_at_once() -> None:
    with pytest.raises(UnsupportedError, match=r"Atan node 'Atan_2'.*operators without a gradient here: Atan"):
        gradients(ir.from_proto(network(custom="Atan")), ["smooth"], [])


def test_an_unknown_value_is_named() -> None:
    with pytest.raises(DataError, match="value 'nowhere'"):
        gradients(ir.from_proto(network()), ["nowhere"], [])
