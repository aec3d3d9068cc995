"""int8-dynamic, int8-weights, fp16 and fp32 files in onnxruntime."""

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgekit.exporters import ExportOptions
from edgekit.exporters.onnx import OnnxExporter
from edgekit.graph import storage
from edgekit.interface import Precision
from edgekit.passes.quantize import QuantizationScheme, quantize
from tests.exporters.onnx.networks import convolution, finish, head, random_samples_of, weight
from tests.exporters.onnx.test_integer import session
from tests.exporters.tflite.graphs import Builder


def network() -> ir.Model:
    """Weights large enough to be quantized: a convolution, a depthwise one, MatMul and Gemm."""
    b = Builder()
    x = b.node("Relu", [convolution(b, b.input("image", (1, 8, 12, 12)), 8, 32)])
    x = convolution(b, x, 32, 32, group=32)
    x = b.node("Reshape", [x, np.array([1, 32, 144])])
    x = b.node("MatMul", [x, weight(144, 144)])
    x = b.node("Reshape", [x, np.array([1, 32, 12, 12])])
    head(b, x, 32, classes=40)
    return finish(b, "logits")


def export(precision, path):
    graph = quantize(network(), QuantizationScheme(precision))
    interface = OnnxExporter().export(graph, ExportOptions(precision), path)
    onnx.checker.check_model(path, full_check=True)
    return graph, interface


def outputs(content, model, **options):
    running = session(content, **options)
    return np.stack([running.run(None, sample)[0] for sample in random_samples_of(model)])


@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [(Precision.INT8_DYNAMIC, 0.03), (Precision.INT8_WEIGHTS, 1e-6), (Precision.FP16, 1e-3), (Precision.FP32, 1e-6)],
)
def test_the_file_calculates_what_the_graph_says(precision, tolerance, tmp_path):
    graph, interface = export(precision, tmp_path / "net.onnx")
    expected = outputs(storage.to_bytes(graph), graph, fused=False)
    found = outputs(str(tmp_path / "net.onnx"), graph)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()
    assert [(spec.name, spec.dtype) for spec in (*interface.inputs, *interface.outputs)] == [
        ("image", "float32"),
        ("logits", "float32"),
    ]


def test_weights_are_small_on_disk_and_float_once_loaded(tmp_path):
    export(Precision.INT8_WEIGHTS, tmp_path / "int8.onnx")
    export(Precision.FP32, tmp_path / "fp32.onnx")
    assert (tmp_path / "int8.onnx").stat().st_size < 0.4 * (tmp_path / "fp32.onnx").stat().st_size
    session(str(tmp_path / "int8.onnx"), optimized=tmp_path / "optimized.onnx")
    counts = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert not counts.keys() & {"DequantizeLinear", "Cast", "Mul"}, counts


def test_dynamic_files_multiply_integers(tmp_path):
    export(Precision.INT8_DYNAMIC, tmp_path / "net.onnx")
    session(str(tmp_path / "net.onnx"), optimized=tmp_path / "optimized.onnx")
    counts = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert counts["DynamicQuantizeMatMul"] == 2
    assert not counts.keys() & {"DequantizeLinear", "MatMul", "Gemm", "ConvInteger"}, counts


def test_half_precision_halves_the_weights_and_casts_only_at_the_border(tmp_path):
    export(Precision.FP16, tmp_path / "half.onnx")
    model = onnx.load(tmp_path / "half.onnx").graph
    assert not [tensor.name for tensor in model.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    assert Counter(node.op_type for node in model.node)["Cast"] == 2


def test_half_precision_keeps_what_onnx_defines_only_for_float(tmp_path):
    b = Builder()
    x = b.input("x", (1, 2, 4, 4))
    scales = np.array([1, 1, 2, 2], np.float32)
    grown = b.node("Resize", [x, "", scales], mode="linear", coordinate_transformation_mode="asymmetric")
    counted = b.node("Cast", [b.node("Cast", [grown], to=onnx.TensorProto.INT32)], to=onnx.TensorProto.FLOAT)
    b.node("Add", [counted, grown], "y")
    graph = finish(b, "y")
    OnnxExporter().export(graph, ExportOptions(Precision.FP16), tmp_path / "half.onnx")
    onnx.checker.check_model(tmp_path / "half.onnx", full_check=True)
    found = outputs(str(tmp_path / "half.onnx"), graph)
    np.testing.assert_allclose(found, outputs(storage.to_bytes(graph), graph, fused=False), rtol=2e-3, atol=2e-3)
