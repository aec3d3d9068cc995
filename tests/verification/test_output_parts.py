"""Boxes and scores of a detector have errors of their own."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import edgekit
from edgekit.console.export import show_export
from edgekit.errors import GateError
from edgekit.exporters import ExportOptions
from edgekit.exporters.onnx import OnnxExporter
from edgekit.interface import Precision
from edgekit.profiles.gate import Gate
from edgekit.release.reading import read_manifest
from edgekit.verification import Subject, verify
from edgekit.verification.metrics import PartVerification, Verification
from edgekit.verification.output_parts import split_outputs
from tests.exporters.onnx.networks import SampleList, random_samples_of
from tests.graph.test_parts import detector
from tests.passes.prune.networks import Builder


def boxes_and_scores(bias: float = 0.0) -> ir.Model:
    """Large boxes and scores in one output (1, 9, 64); ``bias`` is added to the scores' logits."""
    build = Builder(1, 3, 8, 8)
    boxes = build.op("Mul", build.conv("x", 4, 1), build.constant(np.float32(100)))
    logits = build.op("Add", build.conv("x", 5, 1), build.constant(np.float32(bias)))
    scores = build.op("Sigmoid", logits)
    return build.plain(build.reshape(build.op("Concat", boxes, scores, axis=1), 1, 9, -1))


def verified(source: ir.Model, artifact: ir.Model, folder: Path, gate: Gate) -> Verification:
    path = folder / "a.onnx"
    interface = OnnxExporter().export(artifact, ExportOptions(Precision.FP32), path)
    subject = Subject("phone", "onnx", path, interface, gate, "phone/a.onnx")
    [result] = verify([subject], source, SampleList(random_samples_of(source, 4)))
    return result.verification


def test_parts_are_named_as_numpy_slices_them() -> None:
    model = detector()
    name = model.graph.outputs[0].name
    parts = split_outputs(model)
    assert [(part.output, part.place, part.scores) for part in parts] == [
        (name, "[:, 0:64, 0:4]", False),
        (name, "[:, 0:64, 4:9]", True),
        (name, "[:, 64:80, 0:4]", False),
        (name, "[:, 64:80, 4:9]", True),
    ]
    output = np.random.default_rng(0).normal(size=(1, 80, 10))
    assert set(parts[1].of({name: output})) == set(output[:, :64, 4:9].reshape(-1))


def test_one_output_of_one_thing_has_no_parts() -> None:
    build = Builder(1, 3, 8, 8)
    assert split_outputs(build.plain(build.conv("x", 4))) == ()


def test_every_float_output_of_several_is_a_part() -> None:
    build = Builder(1, 3, 8, 8)
    features = build.conv("x", 4)
    model = build.plain(features, build.op("Softmax", features, axis=1), build.op("ArgMax", features, axis=1))
    assert [(part.place, part.scores, part.places) for part in split_outputs(model)] == [
        ("", False, None),
        ("", True, None),
    ]


def test_dead_scores_do_not_hide_beside_large_boxes(tmp_path: Path) -> None:
    source, dead = boxes_and_scores(), boxes_and_scores(bias=-1000.0)
    with pytest.raises(GateError) as caught:
        verified(source, dead, tmp_path, Gate())
    (name,) = (output.name for output in source.graph.outputs)
    wanted = f'phone/a.onnx: cosine of output "{name}"[:, 4:9] 0.0000 (SQNR 0.0 dB), at least 0.9 wanted: '
    assert wanted in str(caught.value)
    seen = verified(source, dead, tmp_path, Gate.of_max_drop(100))
    assert seen.cosine > 0.999
    assert [part.cosine for part in seen.parts] == [pytest.approx(1, abs=1e-6), 0.0]


def test_scores_that_see_nothing_may_all_be_zero(tmp_path: Path) -> None:
    seen = verified(boxes_and_scores(bias=-20.0), boxes_and_scores(bias=-1000.0), tmp_path, Gate())
    assert seen.parts[1].cosine == 0.0 < seen.parts[1].max_abs_error < 1 / 128


def test_the_manifest_and_the_table_tell_of_every_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ir.save(boxes_and_scores(), tmp_path / "m.onnx")
    samples = np.random.default_rng(0).normal(size=(8, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "c.npz", x=samples)
    manifest = edgekit.export(tmp_path / "m.onnx", "x86-64", calibration=tmp_path / "c.npz", out=tmp_path / "dist")
    for written, read in zip(manifest.artifacts, read_manifest(tmp_path / "dist").artifacts, strict=True):
        document = written.verification.to_json()
        assert [part.get("part") for part in document["outputs"]] == ["[:, 0:4]", "[:, 4:9]"]
        assert read.verification.to_json() == document
    weak = PartVerification("y", "[:, 4:9]", 3.0, 0.8, 0.5)
    object.__setattr__(manifest.artifacts[0].verification, "parts", (weak,))
    show_export(manifest)
    told = capsys.readouterr().err
    assert f'warning: {manifest.artifacts[0].path}: output "y"[:, 4:9] alone has 3.0 dB SQNR, cosine 0.800' in told
    assert told.count("warning") == 1


def test_outputs_that_stay_float_are_told_of_where_integers_were_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ir.save(boxes_and_scores(), tmp_path / "m.onnx")
    samples = np.random.default_rng(0).normal(size=(8, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "c.npz", x=samples)
    manifest = edgekit.export(
        tmp_path / "m.onnx", "x86-64", calibration=tmp_path / "c.npz", out=tmp_path / "dist", io="int8"
    )
    show_export(manifest)
    told = " ".join(capsys.readouterr().err.split())
    name = manifest.model.outputs[0].name
    for suffix in ("tflite", "onnx"):
        assert f'x86-64/m.{suffix}: "{name}" stays float' in told
    assert "x86-64/m.mnn: keeps its float interface" in told
