"""Fake quantization rounds what the static int8 pass rounds."""

import numpy as np
import pytest

from edgekit.interface import Precision
from edgekit.passes.quantize import QuantizationScheme, calibrate, quantize
from edgekit.passes.recover.network import Network
from edgekit.passes.recover.quantization_aware import FakeQuantization
from tests.passes.recover.networks import samples, teacher
from tests.passes.recover.running import F, outputs

SCHEMES = [
    QuantizationScheme(Precision.INT8),
    QuantizationScheme(Precision.INT8, weight_bits=7, weight_granularity="per_tensor", observer="mse"),
    QuantizationScheme(Precision.INT8, float_ops=("Add", "Gemm")),
]


@pytest.mark.parametrize("scheme", SCHEMES, ids=["int8", "coarse", "float_ops"])
def test_gives_what_the_integer_network_gives(scheme: QuantizationScheme) -> None:
    model, given = teacher(), samples(20)
    network = Network(model, "test", train=True)
    fake = FakeQuantization(network.tf, model, given, scheme)
    inputs = {"x": network.tf.constant(np.stack([sample["x"] for sample in given]))}
    found = network.compute(inputs, [model.graph.outputs[0].name], fake)[0].plain.numpy()[:, 0]
    calibration = calibrate(model, given, observer=scheme.observer, moments=False, float_ops=[scheme.float_ops])
    wanted = outputs(quantize(model, scheme, calibration), given)
    spread = np.abs(wanted - outputs(model, given)).mean()
    # A sum that lies between two codes may fall to either side: a few outputs are a step apart.
    assert spread > 1e-4
    assert np.abs(found - wanted).mean() < 0.1 * spread


def test_the_gradient_goes_through_and_ends_with_the_range() -> None:
    model = teacher()
    network = Network(model, "test", train=True)
    tf = network.tf
    fake = FakeQuantization(tf, model, samples(20), SCHEMES[0])
    name = model.graph.outputs[0].name
    x = tf.Variable(np.stack([samples(1)[0]["x"]]))
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(network.compute({"x": x}, [name], fake)[0].plain)
    assert all(np.abs(gradient.numpy()).max() > 0 for gradient in tape.gradient(y, list(network.variables.values())))
    far = tf.Variable(x * F(1e3))
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(network.compute({"x": far}, [name], fake)[0].plain)
    np.testing.assert_array_equal(tape.gradient(y, far), 0)
