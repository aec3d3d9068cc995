"""Real artifacts in their real runtimes, compared with the source model."""

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.errors import DataError, GateError, ModelError
from edgekit.exporters import ExportedInterface, ExportOptions
from edgekit.exporters.onnx import OnnxExporter
from edgekit.exporters.tflite import TFLiteExporter
from edgekit.interface import IoType, Layout, Precision, TensorSpec
from edgekit.passes.quantize import QuantizationScheme, calibrate, quantize
from edgekit.profiles.gate import Gate
from edgekit.verification import Subject, verify
from tests.exporters.onnx.networks import SampleList, random_samples_of, residual_network
from tests.exporters.tflite.graphs import Builder
from tests.runtimes.crashing import save_crashing_tflite

EXPORTERS = {"onnx": OnnxExporter(), "tflite": TFLiteExporter()}
ALL_PASS = Gate.of_max_drop(100.0)


@pytest.fixture(scope="module")
def source() -> ir.Model:
    return residual_network()


@pytest.fixture(scope="module")
def samples(source) -> SampleList:
    found = random_samples_of(source, 24)
    found.labels = labels_of(source, found)
    return found


def labels_of(model, samples):
    from tests.exporters.onnx.test_integer import session

    running = session(ir.to_proto(model).SerializeToString())
    return np.array([int(running.run(None, sample)[0].argmax()) for sample in samples])


@pytest.fixture(scope="module")
def quantized(source, samples) -> ir.Model:
    return quantize(source, QuantizationScheme(Precision.INT8), calibrate(source, samples))


def subject(model, path, kind, *, gate=ALL_PASS, precision=Precision.INT8, **options) -> Subject:
    interface = EXPORTERS[kind].export(model, ExportOptions(precision, **options), path)
    return Subject("phone", kind, path, interface, gate, f"phone/{path.name}")


def unlabelled(samples) -> SampleList:
    return SampleList(samples)


def test_formats_are_measured_against_the_source_and_each_other(source, quantized, samples, tmp_path):
    subjects = [
        subject(quantized, tmp_path / "a.tflite", "tflite", gate=Gate(), layout=Layout.NHWC, io=IoType.INT8),
        subject(quantized, tmp_path / "a.onnx", "onnx", gate=Gate(), activation_dtype="uint8"),
    ]
    seen = []
    results = verify(subjects, source, samples, advance=seen.append)
    assert seen == [1] * len(samples)
    assert [result.subject for result in results] == subjects
    for result, other in zip(results, ("onnx", "tflite"), strict=True):
        found = result.verification
        assert found.samples == len(samples)
        assert found.sqnr_db > 20
        assert 0.99 < found.cosine <= 1
        assert 0 < found.max_abs_error < 1
        assert found.top1_float == 100.0
        assert found.top1 == found.top1_agreement >= 90
        assert found.format_agreement[other] >= 95
        assert result.delegation.total_ops > 0
    assert [r.verification.runtime.split()[0] for r in results] == ["litert", "onnxruntime"]


def test_a_float_file_is_the_source(source, samples, tmp_path):
    plain = subject(source, tmp_path / "a.onnx", "onnx", precision=Precision.FP32)
    [result] = verify([plain], source, unlabelled(samples))
    assert result.verification.sqnr_db > 100
    assert result.verification.top1_agreement == 100.0
    assert result.verification.top1 is None
    assert result.verification.format_agreement == {}


def test_the_order_of_the_samples_is_irrelevant(source, quantized, samples, tmp_path):
    artifact = subject(quantized, tmp_path / "a.onnx", "onnx")
    forwards, backwards = (
        verify([artifact], source, SampleList(order))[0].verification for order in (samples, reversed(samples))
    )
    assert forwards == backwards


def test_every_failed_check_is_named_at_once(source, quantized, samples, tmp_path):
    strict = Gate(max_top1_drop=-1.0, min_cosine=1.5, min_format_agreement=101.0)
    subjects = [
        subject(quantized, tmp_path / "a.tflite", "tflite", gate=strict),
        subject(quantized, tmp_path / "a.onnx", "onnx", gate=strict),
    ]
    with pytest.raises(GateError) as caught:
        verify(subjects, source, samples)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("verification failed: phone/a.tflite, .onnx: top-1 100.00 % is 0.00 points below")
    for check in ("at most -1 allowed", "at least 1.5 wanted", "top-1 agreement with "):
        assert message.count(check) == 1


def test_without_labels_the_agreement_is_what_counts(source, quantized, samples, tmp_path):
    artifact = subject(quantized, tmp_path / "a.onnx", "onnx", gate=Gate(min_top1_agreement=101.0, max_top1_drop=-1.0))
    with pytest.raises(GateError, match=r"top-1 agreement [\d.]+ %, at least 101 % wanted"):
        verify([artifact], source, unlabelled(samples))


def test_crashing_truncated_and_swapped_files_are_reported_together(source, quantized, samples, tmp_path):
    good = subject(quantized, tmp_path / "good.onnx", "onnx")
    cut = subject(quantized, tmp_path / "cut.onnx", "onnx")
    cut.path.write_bytes(cut.path.read_bytes()[:-100])
    interface = ExportedInterface((TensorSpec("x", "float32", (1, 4)),), good.interface.outputs)
    swapped = Subject("phone", "onnx", good.path, interface, ALL_PASS, "phone/swapped.onnx")
    crash = save_crashing_tflite(tmp_path / "crash.tflite")
    crashing = Subject("phone", "tflite", crash, good.interface, ALL_PASS, "phone/crash.tflite")
    with pytest.raises(GateError) as caught:
        verify([good, cut, swapped, crashing], source, samples)
    message = str(caught.value)
    assert "phone/good.onnx" not in message
    assert "phone/cut.onnx: onnxruntime cannot load" in message
    assert "phone/swapped.onnx: the file has the tensors" in message
    assert "phone/crash.tflite: litert crashed with SIGSEGV" in message


def sqrt_minus(offset: float) -> ir.Model:
    b = Builder()
    b.node("Sqrt", [b.node("Sub", [b.input("x", (1, 3)), np.float32(offset)])], "y")
    return ir.from_proto(b.model("y"))


def test_nan_from_an_artifact_fails_even_the_widest_gate(tmp_path):
    artifact = subject(sqrt_minus(1.0), tmp_path / "a.onnx", "onnx", precision=Precision.FP32)
    data = SampleList([{"x": np.full((1, 3), 2, np.float32)}, {"x": np.full((1, 3), 0.5, np.float32)}])
    with pytest.raises(GateError, match='output "y" has NaN or infinity on sample 1'):
        verify([artifact], sqrt_minus(0.0), data)


def test_nan_from_the_source_is_the_models_fault(tmp_path):
    artifact = subject(sqrt_minus(0.0), tmp_path / "a.onnx", "onnx", precision=Precision.FP32)
    with pytest.raises(ModelError, match=r"source model's output \"y\" has NaN or infinity on sample 0"):
        verify([artifact], sqrt_minus(1.0), SampleList([{"x": np.zeros((1, 3), np.float32)}]))


def test_several_outputs_and_other_ranks_are_no_classifier(tmp_path):
    b = Builder()
    x = b.input("x", (1, 4))
    b.node("Relu", [x], "scores")
    b.node("Neg", [x], "other")
    model = ir.from_proto(b.model("scores", "other"))
    artifact = subject(model, tmp_path / "a.onnx", "onnx", precision=Precision.FP32, gate=Gate())
    [result] = verify([artifact], model, SampleList([{"x": np.ones((1, 4), np.float32)}]))
    assert result.verification.top1_agreement is None
    assert result.verification.cosine == pytest.approx(1.0)


def test_no_samples_is_an_error(source):
    with pytest.raises(DataError, match="no samples"):
        verify([], source, SampleList())
