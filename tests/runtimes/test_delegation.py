import onnx_ir as ir

from edgekit.exporters import ExportOptions
from edgekit.exporters.onnx import OnnxExporter
from edgekit.exporters.tflite import TFLiteExporter
from edgekit.interface import Precision
from edgekit.passes.quantize import QuantizationScheme, calibrate, quantize
from edgekit.runtimes.process import RuntimeProcess
from tests.exporters.onnx.networks import random_samples_of, residual_network, with_float_island


def delegation(kind, path):
    with RuntimeProcess(kind, path) as process:
        return process.delegation()


def test_everything_in_a_residual_network_is_integer_in_onnxruntime(tmp_path):
    model = residual_network()
    quantized = quantize(model, QuantizationScheme(Precision.INT8), calibrate(model, random_samples_of(model)))
    for dtype in ("uint8", "int8"):
        path = tmp_path / f"{dtype}.onnx"
        OnnxExporter().export(quantized, ExportOptions(Precision.INT8, activation_dtype=dtype), path)
        facts = delegation("onnx", path)
        assert facts.fallback == ()
        assert facts.accelerated_ops == facts.total_ops >= 6


def test_what_onnxruntime_leaves_in_float_is_named_by_its_source_node(tmp_path):
    model = with_float_island()
    quantized = quantize(model, QuantizationScheme(Precision.INT8), calibrate(model, random_samples_of(model)))
    path = tmp_path / "island.onnx"
    OnnxExporter().export(quantized, ExportOptions(Precision.INT8, activation_dtype="uint8"), path)
    facts = delegation("onnx", path)
    assert [(entry.op, entry.node) for entry in facts.fallback] == [("Erf", "island")]
    assert "float" in facts.fallback[0].reason
    assert facts.accelerated_ops == facts.total_ops - 1


def test_a_float_onnx_file_is_as_fast_as_it_asks(tmp_path):
    path = tmp_path / "float.onnx"
    OnnxExporter().export(residual_network(), ExportOptions(Precision.FP32), path)
    facts = delegation("onnx", path)
    assert facts.fallback == ()
    assert facts.total_ops > 0


def test_half_precision_says_what_runs_in_float_on_this_cpu(tmp_path):
    path = tmp_path / "half.onnx"
    OnnxExporter().export(residual_network(), ExportOptions(Precision.FP16), path)
    facts = delegation("onnx", path)
    assert facts.accelerated_ops + len(facts.fallback) == facts.total_ops
    assert all("float32" in entry.reason for entry in facts.fallback)


def test_litert_lists_what_xnnpack_takes_and_what_not(tmp_path):
    path = tmp_path / "net.tflite"
    model = with_float_island("Softmax")
    quantized = quantize(model, QuantizationScheme(Precision.INT8), calibrate(model, random_samples_of(model)))
    TFLiteExporter().export(quantized, ExportOptions(Precision.INT8), path)
    facts = delegation("tflite", path)
    assert [entry.op for entry in facts.fallback if entry.op == "SOFTMAX"] == ["SOFTMAX"]
    assert "int8" in facts.fallback[0].reason
    assert facts.accelerated_ops + len(facts.fallback) == facts.total_ops


def test_a_graph_is_read_from_a_copy(tmp_path):
    path = tmp_path / "net.onnx"
    OnnxExporter().export(residual_network(), ExportOptions(Precision.FP32), path)
    content = path.read_bytes()
    delegation("onnx", path)
    assert path.read_bytes() == content
    assert isinstance(ir.load(path), ir.Model)
