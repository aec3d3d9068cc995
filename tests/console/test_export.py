"""What is said beside the table of an export."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import edgekit
from edgekit.console.export import show_export
from tests.passes.prune.networks import Builder


def test_class_numbers_are_no_float_interface(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build = Builder(1, 3, 8, 8)
    ir.save(build.plain(build.op("ArgMax", build.head(build.conv("x", 8), 5), axis=1)), tmp_path / "m.onnx")
    np.savez(tmp_path / "c.npz", x=np.random.default_rng(0).normal(size=(16, 3, 8, 8)).astype(np.float32))
    manifest = edgekit.export(
        tmp_path / "m.onnx", "x86-64", calibration=tmp_path / "c.npz", out=tmp_path / "dist", max_drop=100, io="int8"
    )
    show_export(manifest)
    text = " ".join(capsys.readouterr().err.split())
    assert "m.mnn: keeps its float interface" in text
    assert "stays float" not in text


def told(folder: Path, capsys: pytest.CaptureFixture[str], *, samples: int, classes: bool) -> str:
    build = Builder(1, 3, 8, 8)
    output = build.head(build.conv("x", 8), 5) if classes else build.op("Tanh", build.conv("x", 8))
    ir.save(build.plain(output), folder / "m.onnx")
    np.savez(folder / "c.npz", x=np.random.default_rng(0).normal(size=(samples, 3, 8, 8)).astype(np.float32))
    target = folder / "one.toml"
    target.write_text('description = "one"\nextends = "x86-64"\nformats = ["onnx"]\n')
    manifest = edgekit.export(
        folder / "m.onnx", str(target), calibration=folder / "c.npz", out=folder / "dist", max_drop=100
    )
    show_export(manifest)
    return " ".join(capsys.readouterr().err.split())


def test_few_samples_are_warned_of_whatever_they_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = told(tmp_path, capsys, samples=2, classes=True)
    assert "warning: calibrated on 2 samples" in few
    many = told(tmp_path, capsys, samples=16, classes=True)
    assert "warning" not in many
    assert "the 16 calibration samples themselves (--eval judges on others)" in many


def test_labels_are_not_recommended_for_what_does_not_classify(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = told(tmp_path, capsys, samples=16, classes=False)
    assert "the 16 calibration samples themselves; wrote" in text
