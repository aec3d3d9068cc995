"""Small graphs, and what onnxruntime and MNN make of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from edgekit.exporters import ExportOptions
from edgekit.exporters.mnn import MnnExporter
from edgekit.interface import Precision
from edgekit.passes.quantize import QuantizationScheme, calibrate, quantize
from edgekit.runtimes.process import RuntimeProcess

Feeds = dict[str, np.ndarray]

POINTWISE = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1], "group": 1}
SAME3 = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1] * 4, "dilations": [1, 1], "group": 1}


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, np.ndarray],
    constants: Mapping[str, np.ndarray],
    outputs: Sequence[str],
) -> ir.Model:
    """A graph at the pinned opset with inferred static shapes; ``inputs`` give names, dtypes and shapes."""
    named = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    for number, node in enumerate(named):
        node.name = node.name or f"node_{number}"
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in inputs.items()
    ]
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    empty = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(named, "graph", infos, empty, initializers)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True))


def run_onnxruntime(graph: ir.Model, feeds: Feeds) -> Feeds:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    proto = ir.to_proto(graph).SerializeToString()
    session = onnxruntime.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def export(graph: ir.Model, path: Path, precision: Precision = Precision.FP32) -> Path:
    MnnExporter().export(graph, ExportOptions(precision), path)
    return path


def run_mnn(path: Path, feeds: Feeds) -> Feeds:
    with RuntimeProcess("mnn", path) as process:
        return process.run({spec.name: feeds[spec.name].astype(spec.dtype) for spec in process.inputs})


def quantized(graph: ir.Model, samples: Sequence[Feeds]) -> ir.Model:
    return quantize(graph, QuantizationScheme(Precision.INT8), calibrate(graph, list(samples)))


def output_scale(graph: ir.Model, name: str) -> float:
    """The step of a quantized graph's output."""
    (value,) = [output for output in graph.graph.outputs if output.name == name]
    producer = value.producer()
    assert producer is not None and producer.op_type == "DequantizeLinear"
    return float(producer.inputs[1].const_value.numpy())
