"""Computing one node on constants."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from edgekit.graph import OPSET
from edgekit.graph.onnxruntime import load_onnxruntime

RANDOM_OPS = frozenset(
    ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"]
)
_IR_VERSION = 10


def is_deterministic(node: ir.Node) -> bool:
    """Whether the node computes the same from the same inputs: no random op, no training-mode Dropout, no subgraph."""
    if node.domain not in ("", "ai.onnx") or node.op_type in RANDOM_OPS:
        return False
    if node.op_type == "Dropout" and len(node.inputs) > 2 and node.inputs[2] is not None:
        return False
    return not any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values())


def evaluate(node: ir.Node, inputs: Sequence[np.ndarray[Any, Any] | None]) -> list[np.ndarray[Any, Any]] | None:
    """The outputs of ``node`` for these inputs (None: omitted); None when it cannot be computed here."""
    proto = ir.serde.serialize_node(node)
    del proto.input[:], proto.output[:]
    proto.input.extend("" if array is None else f"i{index}" for index, array in enumerate(inputs))
    proto.output.extend(f"o{index}" if value.name else "" for index, value in enumerate(node.outputs))
    feeds = {f"i{index}": array for index, array in enumerate(inputs) if array is not None}
    results = _by_onnxruntime(proto, feeds)
    return _by_reference(proto, feeds) if results is None else results


def _by_onnxruntime(proto: onnx.NodeProto, feeds: dict[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]] | None:
    onnxruntime = load_onnxruntime()
    errors = onnxruntime.capi.onnxruntime_pybind11_state

    inputs = []
    for name, array in feeds.items():
        try:
            element = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        except (KeyError, ValueError):
            return None
        inputs.append(onnx.helper.make_tensor_value_info(name, element, list(array.shape)))
    outputs = [onnx.ValueInfoProto(name=name) for name in proto.output if name]
    graph = onnx.helper.make_graph([proto], "constant", inputs, outputs)
    model = onnx.helper.make_model(graph, ir_version=_IR_VERSION, opset_imports=[onnx.helper.make_opsetid("", OPSET)])
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        results = session.run(None, feeds)
    except (errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.NotImplemented, errors.RuntimeException):
        return None
    return [np.asarray(result) for result in results] if all(isinstance(r, np.ndarray) for r in results) else None


def _by_reference(proto: onnx.NodeProto, feeds: dict[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]] | None:
    from onnx.reference import ReferenceEvaluator

    try:
        results = ReferenceEvaluator(proto, opsets={"": OPSET}).run(None, feeds)
    except (RuntimeError, TypeError, ValueError, NotImplementedError, IndexError, KeyError, AttributeError):
        return None
    return [np.asarray(result) for result in results] if isinstance(results, list) else None
