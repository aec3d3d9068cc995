"""Writing a small graph, rewriting it, and comparing what it computes before and after."""

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from edgekit.graph import OPSET
from edgekit.graph.shapes import infer_shapes
from edgekit.graph.storage import to_bytes


def build(inputs: Mapping[str, tuple[int, ...]], outputs: str, body: str, **constants: object) -> ir.Model:
    """A model from ONNX's textual node syntax, one node a line; ``constants`` become initializers."""
    nodes = [onnx.parser.parse_node(line.strip()) for line in body.strip().splitlines()]
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    arrays = {n: a.astype(np.float32) if a.dtype == np.float64 else a for n, a in arrays.items()}
    graph = onnx.helper.make_graph(
        nodes,
        "small",
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs.split()],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)
    return infer_shapes(ir.from_proto(proto))


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Normally distributed float32 numbers, the same every time."""
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def run(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs by onnxruntime without its own graph rewriting."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(to_bytes(model), options, providers=["CPUExecutionProvider"])
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, dict(feeds)), strict=True))


def random_feeds(model: ir.Model, seed: int = 0) -> dict[str, np.ndarray]:
    """One sample for the model's inputs."""
    return {
        v.name: 2 * noise(*v.shape, seed=seed) for v in model.graph.inputs if v.name not in model.graph.initializers
    }


def assert_same(before: ir.Model, after: ir.Model, tolerance: float = 1e-5) -> None:
    """Same input and output names, and outputs equal within ``tolerance`` of the largest value."""
    assert [v.name for v in before.graph.inputs] == [v.name for v in after.graph.inputs]
    for seed in range(2):
        feeds = random_feeds(before, seed)
        expected, actual = run(before, feeds), run(after, feeds)
        assert list(expected) == list(actual)
        for name, value in expected.items():
            assert actual[name].shape == value.shape and actual[name].dtype == value.dtype
            limit = tolerance * max(float(np.abs(value).max(initial=0)), 1e-6)
            np.testing.assert_allclose(actual[name], value, rtol=0, atol=limit, err_msg=name)


def ops(model: ir.Model) -> list[str]:
    """The op of each node, in order."""
    return [node.op_type for node in model.graph]


def rewritten(model: ir.Model, *passes: ir.passes.PassBase) -> ir.Model:
    """A copy after these passes, shown to compute the same."""
    copy = model.clone()
    for rewrite in passes:
        rewrite(copy)
    assert_same(model, copy)
    return copy
