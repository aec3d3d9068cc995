"""Small ONNX files, and the one check that matters: the import computes what the file computes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import TensorProto, helper

SaveModel = Callable[..., Path]


def save_model(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, object],
    outputs: Mapping[str, object],
    initializers: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = 17,
    ir_version: int = 8,
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Mapping[str, int] | None = None,
) -> Path:
    """Write a model of nodes, inputs and outputs ({name: shape} or {name: (type, shape)}) and initializers."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [value_info(key, spec) for key, spec in inputs.items()],
        [value_info(key, spec) for key, spec in outputs.items()],
        [onnx.numpy_helper.from_array(array, key) for key, array in (initializers or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, v) for d, v in (domains or {}).items())]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, functions=list(functions)), path)
    return path


def value_info(name: str, spec: object) -> onnx.ValueInfoProto:
    kind, shape = spec if isinstance(spec, tuple) else (TensorProto.FLOAT, spec)
    return helper.make_tensor_value_info(name, kind, shape)


def run(model: bytes | str, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options).run(None, dict(feeds))


def run_imported(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    return run(ir.to_proto(model).SerializeToString(), feeds)


def assert_same_as_file(model: ir.Model, path: Path, feeds: Mapping[str, np.ndarray]) -> None:
    for got, want in zip(run_imported(model, feeds), run(str(path), feeds), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def dynamic_values(model: ir.Model) -> list[str]:
    """Names of values without a static shape or a type."""
    values = [*model.graph.inputs, *(output for node in model.graph for output in node.outputs)]
    return [
        str(value.name)
        for value in values
        if value.dtype is None or value.shape is None or not all(isinstance(dim, int) for dim in value.shape)
    ]
