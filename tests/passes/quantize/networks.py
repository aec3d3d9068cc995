"""Small canonical graphs, built node by node, and how to run them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from edgekit.graph import OPSET

Array = np.ndarray[Any, Any]


class Network:
    """Collects nodes; every value is named by its node."""

    def __init__(self, *shape: int, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.inputs = [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)]
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, array: Array, name: str) -> str:
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        return name

    def op(self, op_type: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        self.nodes.append(onnx.helper.make_node(op_type, list(inputs), [name], name=f"{name}_node", **attributes))
        return name

    def conv(
        self,
        source: str,
        weight: Array,
        name: str,
        bias: Array | None = None,
        group: int = 1,
        stride: int = 1,
        pad: int = 0,
    ) -> str:
        rank = weight.ndim - 2
        inputs = [source, self.constant(weight.astype(np.float32), f"{name}_w")]
        if bias is not None:
            inputs.append(self.constant(bias.astype(np.float32), f"{name}_b"))
        return self.op(
            "Conv",
            inputs,
            name,
            group=group,
            kernel_shape=weight.shape[2:],
            strides=[stride] * rank,
            pads=[pad] * 2 * rank,
            dilations=[1] * rank,
        )

    def relu6(self, source: str, name: str) -> str:
        low = self.constant(np.array(0, np.float32), f"{name}_min")
        high = self.constant(np.array(6, np.float32), f"{name}_max")
        return self.op("Clip", [source, low, high], name)

    def gemm(self, source: str, weight: Array, bias: Array | None, name: str) -> str:
        inputs = [source, self.constant(weight.astype(np.float32), f"{name}_w")]
        if bias is not None:
            inputs.append(self.constant(bias.astype(np.float32), f"{name}_b"))
        return self.op("Gemm", inputs, name, alpha=1.0, beta=1.0, transA=0, transB=1)

    def model(self, *outputs: str) -> ir.Model:
        infos = [onnx.helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = onnx.helper.make_graph(self.nodes, "network", self.inputs, infos, self.constants)
        proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)
        return ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=True))


def mobile_network(seed: int = 0) -> ir.Model:
    """x[1,3,16,16] -> stem -> inverted residual with depthwise and ReLU6 -> pooled logits[1,5]."""
    n = Network(1, 3, 16, 16, seed=seed)
    r = n.random.normal
    stem = n.relu6(n.conv("x", r(size=(8, 3, 3, 3)) * 0.4, "stem", r(size=8), stride=2, pad=1), "stem6")
    wide = n.relu6(n.conv(stem, r(size=(16, 8, 1, 1)) * 0.6, "expand", r(size=16)), "expand6")
    deep = n.relu6(n.conv(wide, r(size=(16, 1, 3, 3)) * 0.5, "depthwise", r(size=16), group=16, pad=1), "depthwise6")
    thin = n.conv(deep, r(size=(8, 16, 1, 1)) * 0.3, "project", r(size=8))
    joined = n.op("Add", [thin, stem], "joined")
    pooled = n.op("GlobalAveragePool", [joined], "pooled")
    flat = n.op("Reshape", [pooled, n.constant(np.array([1, 8]), "shape")], "flat")
    return n.model(n.gemm(flat, r(size=(5, 8)), r(size=5), "logits"))


def images(count: int, seed: int = 1, shape: tuple[int, ...] = (1, 3, 16, 16)) -> list[dict[str, Array]]:
    """Smooth random images in [-1, 1], as samples."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=(count, *shape)).astype(np.float32)
    return [{"x": np.tanh((image + np.roll(image, 1, -1) + np.roll(image, 1, -2)) / 2)} for image in noise]


def run(model: ir.Model, samples: Sequence[dict[str, Array]], threads: int = 1) -> Array:
    """The first output, one row per sample, in onnxruntime with its default optimizations."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    return np.stack([session.run(None, sample)[0].reshape(-1) for sample in samples]).astype(np.float64)


def sqnr_db(exact: Array, approximate: Array) -> float:
    noise = float(np.square(exact - approximate).sum())
    return 10 * np.log10(float(np.square(exact).sum()) / max(noise, 1e-30))
