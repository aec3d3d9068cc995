"""Every operator for several samples at once against onnxruntime one by one, in both layouts."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings

from edgekit.passes.recover.network import Network
from edgekit.passes.recover.ops import OPS
from tests.exporters.tflite.test_float_operators import CASES, LAID_OUT, Case, build
from tests.exporters.tflite.test_random_graphs import graphs
from tests.passes.recover.running import F, check, feeds_of

# Attributes that recovery refuses by name (see the functions), and what is not a network's business.
REFUSED = [
    lambda case: case.attributes.get("mode") == "cubic" or case.attributes.get("antialias"),
]
KNOWN = [case for case in CASES if case.op in OPS and not any(refuses(case) for refuses in REFUSED)]


@pytest.mark.parametrize("case", KNOWN, ids=str)
def test_operator_in_the_layout_of_the_source(case: Case) -> None:
    check(build(case, channels_last=False), 10 * case.tolerance)


@pytest.mark.parametrize("case", [case for case in KNOWN if any(case is one for one in LAID_OUT)], ids=str)
def test_operator_with_the_channels_last(case: Case) -> None:
    check(build(case, channels_last=True), 10 * case.tolerance)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(graphs())
def test_random_graph(model) -> None:
    if all(node.op_type in OPS for node in model.graph.node):
        check(model, 1e-4)


# TensorFlow's CPU kernels have no gradient for some forms of these: grouped, dilated, with unequal strides.
LINEAR = {"Conv", "ConvTranspose", "AveragePool", "GlobalAveragePool", "Resize", "Pad", "DepthToSpace", "SpaceToDepth"}


@pytest.mark.parametrize("case", [case for case in KNOWN if case.op in LINEAR], ids=str)
def test_gradient_of_what_is_linear(case: Case) -> None:
    model = build(case, channels_last=False)
    network = Network(ir.from_proto(model), "test", train=True)
    tf, name = network.tf, model.graph.output[0].name
    rng = np.random.default_rng(0)
    feeds = {key: tf.Variable(np.stack([feed[key] for feed in feeds_of(model)])) for key in feeds_of(model)[0]}
    with tf.GradientTape() as tape:
        y = network.compute({key: feed + 0 for key, feed in feeds.items()}, [name])[0].plain
        direction = rng.normal(size=y.shape).astype(F)
        loss = tf.reduce_sum(y * direction)
    changes = {key: rng.normal(size=feed.shape).astype(F) for key, feed in feeds.items()}
    gradients = tape.gradient(loss, feeds)
    expected = sum(np.sum(gradients[key].numpy() * change) for key, change in changes.items())
    there, here = (
        network.compute({key: feed + sign * changes[key] for key, feed in feeds.items()}, [name])[0].plain.numpy()
        for sign in (1, 0)
    )
    np.testing.assert_allclose(np.sum((there - here) * direction), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("case", [case for case in KNOWN if case.op in ("Conv", "ConvTranspose")], ids=str)
def test_weights_have_gradients(case: Case) -> None:
    model = build(case, channels_last=False)
    network = Network(ir.from_proto(model), "test", train=True)
    inputs = {key: network.tf.constant(np.stack([each[key] for each in feeds_of(model)])) for key in feeds_of(model)[0]}
    with network.tf.GradientTape() as tape:
        loss = network.tf.reduce_sum(network.compute(inputs, [model.graph.output[0].name])[0].plain ** 2)
    gradients = tape.gradient(loss, network.variables)
    assert gradients and all(np.abs(gradient.numpy()).max() > 0 for gradient in gradients.values())
