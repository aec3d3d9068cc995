"""A classifier that a test can make in a blink: random convolutions, a fitted last layer, separable classes."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 5
SHAPE = (3, 16, 16)


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` noisy images of class prototypes and their classes."""
    prototypes = np.random.default_rng(7).normal(size=(CLASSES, *SHAPE))
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, CLASSES, count)
    pixels = prototypes[classes] + rng.normal(scale=0.5, size=(count, *SHAPE))
    return pixels.astype(np.float32), classes.astype(np.int64)


def save_classifier(path: Path, *, batch: int | str = "N", input_name: str = "image", opset: int = 17) -> Path:
    """Write the classifier: conv, depthwise, residual add, global pooling, fully connected."""
    rng = np.random.default_rng(3)
    weights = {
        "w0": rng.normal(size=(16, 3, 3, 3)) * 0.3,
        "b0": rng.normal(size=16) * 0.1,
        "w1": rng.normal(size=(16, 1, 3, 3)) * 0.4,
        "w2": rng.normal(size=(16, 16, 1, 1)) * 0.3,
        "w3": rng.normal(size=(32, 16, 3, 3)) * 0.2,
        "flat": np.array([0, -1]),
        "zero": np.array(0.0),
        "six": np.array(6.0),
    }
    nodes = [
        helper.make_node("Conv", [input_name, "w0", "b0"], ["c0"], name="stem", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"], name="stem_relu"),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], name="depthwise", pads=[1, 1, 1, 1], group=16),
        helper.make_node("Clip", ["c1", "zero", "six"], ["r1"], name="relu6"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="pointwise"),
        helper.make_node("Add", ["r0", "c2"], ["a2"], name="residual"),
        helper.make_node("Conv", ["a2", "w3"], ["c3"], name="down", pads=[1, 1, 1, 1], strides=[4, 4]),
        helper.make_node("Relu", ["c3"], ["r3"], name="down_relu"),
        helper.make_node("Reshape", ["r3", "flat"], ["features"], name="flatten"),
    ]
    body = _model(nodes, weights, input_name, batch, ["features"], opset)
    head = _fit_head(body, input_name)
    weights |= head
    nodes.append(helper.make_node("Gemm", ["features", "head", "bias"], ["logits"], name="head"))
    onnx.save(_model(nodes, weights, input_name, batch, ["logits"], opset), path)
    return path


def _fit_head(body: onnx.ModelProto, input_name: str) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(body.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels, classes = images(200, seed=1)
    features = np.concatenate([session.run(None, {input_name: pixel[None]})[0] for pixel in pixels])
    design = np.hstack([features, np.ones((len(features), 1))]).astype(np.float64)
    wanted = np.eye(CLASSES)[classes] * 8 - 4
    ridge = design.T @ design + 1e-1 * np.trace(design.T @ design) / design.shape[1] * np.eye(design.shape[1])
    solution = np.linalg.solve(ridge, design.T @ wanted)
    return {"head": solution[:-1], "bias": solution[-1]}


def _model(
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    input_name: str,
    batch: int | str,
    outputs: list[str],
    opset: int,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, [batch, *SHAPE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, None]) for name in outputs],
        [
            numpy_helper.from_array(value.astype(np.int64 if name == "flat" else np.float32), name)
            for name, value in weights.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return model
