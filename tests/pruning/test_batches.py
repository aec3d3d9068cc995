"""A model with a fixed batch: what is told and recorded counts samples, not batches."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import edgekit
from edgekit.console.export import show_export
from edgekit.passes.recover.report import RecoveryReport, Stopped
from tests import toy


@pytest.fixture(scope="module")
def batched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy for four images at once, beside 12 and 40 images."""
    path = toy.save_classifier(tmp_path_factory.mktemp("batched") / "toy.onnx")
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, path)
    for count in (12, 40):
        np.savez(path.with_name(f"{count}.npz"), x=toy.images(count, seed=5)[0])
    return path


def test_an_export_counts_samples(
    batched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    options = {"precision": "fp32", "prune": 0.3, "max_drop": 100}
    manifest = edgekit.export(
        batched, "android-gpu", calibration=batched.with_name("12.npz"), out=tmp_path / "dist", **options
    )
    assert manifest.calibration is not None and manifest.pruning is not None
    assert manifest.calibration.samples == 12
    assert {artifact.verification.samples for artifact in manifest.artifacts} == {12}
    assert manifest.pruning["float"]["samples"] == 12
    assert any("12 are too few (16 or more are needed)" in note for note in manifest.pruning["notes"])
    show_export(manifest)
    assert "verified on the 12 calibration samples" in capsys.readouterr().err
    again = edgekit.verify(tmp_path / "dist")
    assert again.data is not None and again.data.spell().startswith("12 samples of the manifest's calibration data")
    assert again.data.to_json()["samples"] == 12


def test_random_samples_are_counted_too(batched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = edgekit.export(batched, "android-gpu", precision="fp32", out=tmp_path / "dist")
    assert {artifact.verification.samples for artifact in manifest.artifacts} == {16}
    show_export(manifest)
    assert "verified on 16 random samples" in capsys.readouterr().err
    for limit, count in ((None, 16), (8, 8), (2, 4)):
        again = edgekit.verify(tmp_path / "dist", samples=limit)
        assert again.data is not None and again.data.count == count
        assert len(list(again.data.samples)) == count // 4


def test_recovery_says_how_many_samples_it_needs(batched: Path, tmp_path: Path) -> None:
    wanted = r"40\.npz: --recover needs at least 64 samples \(16 batches of 4\)"
    with pytest.raises(edgekit.DataError, match=wanted):
        edgekit.export(
            batched, "x86-64", calibration=batched.with_name("40.npz"), out=tmp_path / "dist", prune=0.3, recover=True
        )
    assert not (tmp_path / "dist").exists()


def test_recovery_reports_samples() -> None:
    figures = (0.4, 0.3, 1e-3, (), 20, False, 7, 1200, 1.0, 8, 50, 13, False, Stopped.FINISHED, 5.0)
    report = RecoveryReport(True, "KL (nats)", *figures).counted_by(4)
    assert (report.batch_size, report.fitted_samples, report.held_back_samples) == (32, 200, 52)
    assert "on 52 held-back samples" in report.sentence
