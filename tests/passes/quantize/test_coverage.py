"""What a quantized graph may call itself, up to the manifest and the runtimes' answers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import edgekit
from edgekit.interface import Precision
from edgekit.passes.quantize import QuantizationScheme, calibrate, quantize
from edgekit.passes.quantize.coverage import computed_precision
from edgekit.runtimes.process import RuntimeProcess
from tests.passes.quantize.networks import Network, images, mobile_network

SHAPE = (1, 3, 8, 8)


def chain(*op_types: str, convolution: bool = False) -> ir.Model:
    n = Network(*SHAPE)
    value = n.conv("x", n.random.normal(size=(3, 3, 1, 1)) * 0.3, "c") if convolution else "x"
    for index, op_type in enumerate(op_types):
        value = n.op(op_type, [value], f"v{index}")
    return n.model(value)


def quantized(model: ir.Model, float_ops: Sequence[str] = ()) -> ir.Model:
    shape = tuple(model.graph.inputs[0].shape.numpy())
    kept = tuple(float_ops)
    calibration = calibrate(model, images(4, shape=shape), float_ops=[kept])
    return quantize(model, QuantizationScheme(Precision.INT8, float_ops=kept), calibration)


def test_a_network_all_on_integers_is_int8() -> None:
    assert computed_precision(quantized(mobile_network())) == "int8"
    assert computed_precision(quantized(chain("Relu", "Sigmoid", "Softmax", convolution=True))) == "int8"


def test_one_product_in_float_makes_it_mixed() -> None:
    assert computed_precision(quantized(mobile_network(), ["Gemm"])) == "mixed"


def test_most_of_it_in_float_makes_it_mixed() -> None:
    assert computed_precision(quantized(chain("Cos", "Neg", "Sin", convolution=True))) == "mixed"
    assert computed_precision(quantized(chain("Cos", convolution=True))) == "int8"


def test_nothing_on_integers_is_neither() -> None:
    assert computed_precision(quantized(chain("Exp", "Neg", "Cos"))) is None


def exported(model: ir.Model, folder: Path) -> edgekit.Manifest:
    ir.save(model, folder / "m.onnx")
    np.savez(folder / "c.npz", x=np.concatenate([sample["x"] for sample in images(8, shape=SHAPE)]))
    return edgekit.export(folder / "m.onnx", "x86-64", calibration=folder / "c.npz", out=folder / "dist", max_drop=100)


def test_nothing_to_quantize_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        edgekit.UnsupportedError, match=r"nothing of this model can be quantized.*Exp.*--precision fp16"
    ):
        exported(chain("Exp", "Neg", "Cos"), tmp_path)


def test_the_manifest_says_mixed_and_every_runtime_names_what_runs_in_float(tmp_path: Path) -> None:
    manifest = exported(chain("Cos", "Neg", "Sin", convolution=True), tmp_path)
    assert [artifact.precision for artifact in manifest.artifacts] == ["mixed"] * 3
    for artifact in manifest.artifacts:
        found = artifact.delegation
        assert found is not None
        assert len(found.fallback) >= 3, artifact.path
        assert found.accelerated_ops == found.total_ops - len(found.fallback)
        assert any("float" in entry.reason for entry in found.fallback)


def test_dynamic_files_are_verified_with_dynamic_kernels(tmp_path: Path) -> None:
    n = Network(1, 64)
    model = n.model(n.gemm("x", n.random.normal(size=(64, 64)), None, "y"))
    ir.save(model, tmp_path / "m.onnx")
    manifest = edgekit.export(
        tmp_path / "m.onnx", "x86-64", precision="int8-dynamic", out=tmp_path / "dist", max_drop=100
    )
    assert [artifact.precision for artifact in manifest.artifacts] == ["int8-dynamic"] * 3
    assert all(25 < artifact.verification.sqnr_db < 60 for artifact in manifest.artifacts)
    x = {"x": np.random.default_rng(0).normal(size=(1, 64)).astype(np.float32)}
    answers = []
    for precision in (None, Precision.INT8_DYNAMIC):
        with RuntimeProcess("mnn", tmp_path / "dist/x86-64/m.mnn", precision=precision) as process:
            answers.append(process.run(x)["y"])
    assert np.abs(answers[0] - answers[1]).max() > 1e-3
