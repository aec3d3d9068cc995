"""Small canonical float networks and their samples."""

import numpy as np
import onnx_ir as ir

from tests.exporters.tflite.graphs import Builder

IMAGE = (1, 3, 12, 12)


class SampleList(list):
    labels = None
    batch = 1


def random_samples_of(model: ir.Model, count: int = 8) -> SampleList:
    rng = np.random.default_rng(5)
    return SampleList(
        {value.name: rng.standard_normal(tuple(value.shape)).astype(np.float32) for value in model.graph.inputs}
        for _ in range(count)
    )


def weight(*shape: int, seed: int = 0) -> np.ndarray:
    spread = (2 / np.prod(shape[1:])) ** 0.5
    return (np.random.default_rng(seed).standard_normal(shape) * spread).astype(np.float32)


def convolution(
    b: Builder, x: str, channels_in: int, channels: int, kernel: int = 3, group: int = 1, **attributes
) -> str:
    seed = len(b.nodes)
    pads = [kernel // 2] * 4
    inputs = [
        x,
        weight(channels, channels_in // group, kernel, kernel, seed=seed),
        weight(channels, 1, seed=seed + 1)[:, 0],
    ]
    window = {"kernel_shape": [kernel] * 2, "strides": [1, 1], "dilations": [1, 1], "pads": pads, "group": group}
    return b.node("Conv", inputs, **(window | attributes))


def head(b: Builder, x: str, channels: int, classes: int = 10) -> str:
    pooled = b.node("GlobalAveragePool", [x])
    flat = b.node("Reshape", [pooled, np.array([1, channels])])
    return b.node("Gemm", [flat, weight(classes, channels), weight(classes, 1)[:, 0]], "logits", transB=1)


def finish(b: Builder, *outputs: str) -> ir.Model:
    return ir.from_proto(b.model(*outputs))


def residual_network() -> ir.Model:
    """Stem, depthwise, residual add, max pool, head."""
    b = Builder()
    stem = b.node("Relu", [convolution(b, b.input("image", IMAGE), 3, 8)])
    depthwise = b.node("Clip", [convolution(b, stem, 8, 8, group=8), np.float32(0), np.float32(6)])
    added = b.node("Add", [convolution(b, depthwise, 8, 8, kernel=1), stem])
    pooled = b.node("MaxPool", [added], kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])
    head(b, pooled, 8)
    return finish(b, "logits")


def with_float_island(op: str = "Erf") -> ir.Model:
    """An operation without an integer kernel between two convolutions."""
    b = Builder()
    first = convolution(b, b.input("image", IMAGE), 3, 8)
    island = b.node(op, [first])
    b.nodes[-1].name = "island"
    head(b, convolution(b, island, 8, 8), 8)
    return finish(b, "logits")
