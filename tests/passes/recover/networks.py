"""A small teacher, a student that is worse, and samples."""

import numpy as np
import onnx_ir as ir

from edgekit.passes.recover.network import replace_weights, trained_weights
from tests.exporters.tflite.graphs import Builder

F = np.float32


def teacher(*, probabilities: bool = False, outputs: int = 4) -> ir.Model:
    """Conv, residual depthwise block, pooling, fully connected."""
    rng = np.random.default_rng(0)
    builder = Builder()
    x = builder.input("x", (1, 3, 8, 8))
    x = builder.node("Conv", [x, rng.normal(size=(8, 3, 3, 3)).astype(F) / 4, rng.normal(size=8).astype(F) / 4], "stem")
    x = builder.node("Relu", [x], "stem_relu")
    y = builder.node("Conv", [x, rng.normal(size=(8, 1, 3, 3)).astype(F) / 3], "deep", group=8, pads=[1] * 4)
    y = builder.node("Relu", [y], "deep_relu")
    y = builder.node("Conv", [y, rng.normal(size=(8, 8, 1, 1)).astype(F) / 3], "narrow")
    x = builder.node("Add", [x, y], "sum")
    x = builder.node("Conv", [x, rng.normal(size=(12, 8, 3, 3)).astype(F) / 8], "last", strides=[2, 2])
    x = builder.node("Flatten", [builder.node("Relu", [x], "last_relu")], "flat")
    size = 12 * 2 * 2
    y = builder.node("Gemm", [x, rng.normal(size=(size, outputs)).astype(F), np.zeros(outputs, F)], "logits")
    return ir.from_proto(builder.model(builder.node("Softmax", [y], "scores") if probabilities else y))


def worse(model: ir.Model, amount: float = 0.3) -> ir.Model:
    """Every weight off by ``amount`` of its tensor's root mean square."""
    rng = np.random.default_rng(1)
    weights = {
        name: array + amount * np.sqrt(np.mean(array**2)) * rng.normal(size=array.shape).astype(F)
        for name, array in trained_weights(model).items()
    }
    return replace_weights(model, weights)


def samples(count: int, seed: int = 2) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(size=(1, 3, 8, 8)).astype(F)} for _ in range(count)]
