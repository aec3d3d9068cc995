"""Run an ONNX graph for several samples at once in TensorFlow, and one by one in onnxruntime."""

import numpy as np
import onnx
import onnx_ir as ir

from edgekit.passes.recover.network import Network
from tests.exporters.tflite.graphs import random_feeds, reference

SAMPLES = 3
F = np.float32


def outputs(model: ir.Model, given: list[dict[str, np.ndarray]]) -> np.ndarray:
    """The first output for each sample, one below the other."""
    proto = ir.to_proto(model)
    return np.concatenate([next(iter(reference(proto, sample).values())) for sample in given])


def feeds_of(model: onnx.ModelProto) -> list[dict[str, np.ndarray]]:
    return [random_feeds(model, seed) for seed in range(SAMPLES)]


def in_tensorflow(model: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Outputs with an axis of samples."""
    network = Network(ir.from_proto(model), "test")
    names = [output.name for output in model.graph.output]
    stacked = {name: network.tf.constant(np.stack([each[name] for each in feeds])) for name in feeds[0]}
    found = network.compute(stacked, names)
    return {
        name: np.broadcast_to(value.plain.numpy(), (len(feeds), *value.shape))
        for name, value in zip(names, found, strict=True)
    }


def in_onnxruntime(model: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    each = [reference(model, one) for one in feeds]
    return {name: np.stack([outputs[name] for outputs in each]) for name in each[0]}


def check(model: onnx.ModelProto, tolerance: float = 1e-5) -> None:
    feeds = feeds_of(model)
    wanted, found = in_onnxruntime(model, feeds), in_tensorflow(model, feeds)
    for name, array in wanted.items():
        assert found[name].shape == array.shape
        np.testing.assert_allclose(found[name], array, atol=tolerance, rtol=tolerance, err_msg=name)
