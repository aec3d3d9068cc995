"""The whole flow on a small classifier, in the real runtimes."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit.progress import Silent
from tests import toy


@pytest.fixture(scope="module")
def exported(classifier: Path, calibration: Path, evaluation: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    edgekit.export(classifier, ["android-arm64", "x86-64"], calibration=calibration, eval=evaluation, out=out)
    return out


def manifest_of(out: Path) -> dict[str, object]:
    return json.loads((out / "manifest.json").read_text())


def test_every_format_of_every_target_is_written_as_the_manifest_says(exported: Path) -> None:
    manifest = manifest_of(exported)
    paths = [artifact["path"] for artifact in manifest["artifacts"]]
    assert sorted(paths) == sorted(
        f"{target}/toy.{suffix}" for target in ("android-arm64", "x86-64") for suffix in ("tflite", "mnn", "onnx")
    )
    for artifact in manifest["artifacts"]:
        content = (exported / artifact["path"]).read_bytes()
        assert len(content) == artifact["bytes"]
        assert hashlib.sha256(content).hexdigest() == artifact["sha256"]
    written = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert written == {*paths, "manifest.json"}


def test_int8_keeps_the_accuracy_in_every_format(exported: Path) -> None:
    for artifact in manifest_of(exported)["artifacts"]:
        seen = artifact["verification"]
        assert seen["samples"] == 100
        assert seen["top1_float"] >= 95
        assert abs(seen["top1"] - seen["top1_float"]) <= 2
        assert seen["sqnr_db"] >= 20
        assert all(share >= 98 for share in seen["format_agreement"].values())


def test_the_layout_is_the_profiles(exported: Path) -> None:
    inputs = {a["path"]: a["inputs"][0] for a in manifest_of(exported)["artifacts"]}
    assert inputs["android-arm64/toy.tflite"]["shape"] == [1, 16, 16, 3]
    assert inputs["android-arm64/toy.tflite"]["permutation"] == [0, 2, 3, 1]
    assert inputs["x86-64/toy.tflite"]["shape"] == [1, 3, 16, 16]
    assert all(tensor["name"] == "image" and tensor["dtype"] == "float32" for tensor in inputs.values())


def test_int8_files_are_about_a_quarter_of_float(exported: Path, classifier: Path) -> None:
    for name in ("android-arm64/toy.tflite", "x86-64/toy.onnx", "x86-64/toy.mnn"):
        assert (exported / name).stat().st_size < 0.75 * classifier.stat().st_size, name


def test_two_runs_are_byte_identical(
    exported: Path, classifier: Path, calibration: Path, evaluation: Path, tmp_path: Path
) -> None:
    edgekit.export(
        classifier, ["android-arm64", "x86-64"], calibration=calibration, eval=evaluation, out=tmp_path / "again"
    )
    first, second = manifest_of(exported), manifest_of(tmp_path / "again")
    assert first["artifacts"] == second["artifacts"]


def test_targets_with_one_scheme_share_the_network(classifier: Path, calibration: Path, tmp_path: Path) -> None:
    descriptions: list[str] = []

    class Listening(Silent):
        def stage(self, description, total=None):
            descriptions.append(description)
            return super().stage(description, total)

    targets = ["android-arm64", "x86-64", "x86-64-avx2"]
    edgekit.export(classifier, targets, calibration=calibration, out=tmp_path, max_drop=100, progress=Listening())
    assert [each for each in descriptions if each.startswith("quantizing")] == [
        "quantizing for android-arm64",
        "quantizing for x86-64-avx2",
    ]


def test_the_order_of_the_samples_does_not_matter(exported: Path, classifier: Path, calibration: Path, tmp_path: Path):
    samples = np.load(calibration)["x"]
    np.savez(tmp_path / "shuffled.npz", x=np.random.default_rng(0).permutation(samples))
    manifest = edgekit.export(classifier, "x86-64", calibration=tmp_path / "shuffled.npz", out=tmp_path / "dist")
    before = {a["path"]: a["sha256"] for a in manifest_of(exported)["artifacts"]}
    assert {a.path: a.sha256 for a in manifest.artifacts}.items() <= before.items()


@pytest.mark.parametrize("precision", ["int8-dynamic", "int8-weights", "fp16", "fp32"])
def test_other_precisions_need_no_data(classifier: Path, tmp_path: Path, precision: str) -> None:
    manifest = edgekit.export(classifier, "android-arm64", precision=precision, out=tmp_path, max_drop=100)
    floor = {"int8-dynamic": 20, "int8-weights": 25, "fp16": 50, "fp32": 90}[precision]
    assert len(manifest.artifacts) == 3
    assert manifest.calibration is None
    for artifact in manifest.artifacts:
        assert artifact.precision == precision
        assert artifact.verification.sqnr_db >= floor, artifact.path


def test_an_int8_interface_carries_scale_and_zero_point(classifier: Path, calibration: Path, tmp_path: Path) -> None:
    manifest = edgekit.export(classifier, "x86-64", calibration=calibration, out=tmp_path, io="int8")
    interfaces = {artifact.format: artifact.interface for artifact in manifest.artifacts}
    for name in ("tflite", "onnx"):
        (taken,), (given,) = interfaces[name].inputs, interfaces[name].outputs
        assert {taken.dtype, given.dtype} <= {"int8", "uint8"}
        assert taken.scale and given.scale and taken.zero_point is not None
    assert all(artifact.verification.sqnr_db > 20 for artifact in manifest.artifacts)


def test_a_failed_gate_leaves_nothing_and_keeps_what_was_there(
    classifier: Path, calibration: Path, evaluation: Path, tmp_path: Path
) -> None:
    (tmp_path / "targets").mkdir()
    profile = tmp_path / "targets" / "strict.toml"
    profile.write_text('description = "strict"\nextends = "x86-64"\n[gate]\nmin_cosine = 1.0\n')
    out = tmp_path / "dist"
    (out / "strict").mkdir(parents=True)
    (out / "strict" / "toy.onnx").write_bytes(b"old")
    with pytest.raises(edgekit.GateError, match=r"strict/toy\.tflite.*cosine"):
        edgekit.export(classifier, str(profile), calibration=calibration, eval=evaluation, out=out)
    assert [path.relative_to(out).as_posix() for path in out.rglob("*")] == ["strict", "strict/toy.onnx"]
    assert (out / "strict" / "toy.onnx").read_bytes() == b"old"


def test_evaluation_data_needs_labels(classifier: Path, calibration: Path, tmp_path: Path) -> None:
    with pytest.raises(edgekit.DataError, match="labels"):
        edgekit.export(classifier, "x86-64", calibration=calibration, eval=calibration, out=tmp_path)


def test_a_misspelt_keyword_names_the_nearest(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(edgekit.UsageError, match='"calibraton"; did you mean "calibration"'):
        edgekit.export(classifier, "x86-64", calibraton="x.npz")  # type: ignore[call-arg]


def test_onnx_sources_never_import_tensorflow(classifier: Path, calibration: Path, tmp_path: Path) -> None:
    """Not in this process and not in a worker: whoever imports it leaves a mark and fails."""
    mark = tmp_path / "imported"
    for name in ("tensorflow", "keras", "tf2onnx"):
        (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})\nraise ImportError\n")
    command = ["-m", "edgekit", "export", classifier, "-c", calibration, "-t", "x86-64", "-o", tmp_path / "dist"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, *map(str, command)], env=environment, check=True, capture_output=True)
    assert (tmp_path / "dist" / "manifest.json").exists()
    assert not mark.exists()


def test_a_batch_of_its_own_is_kept(calibration: Path, tmp_path: Path) -> None:
    model = toy.save_classifier(tmp_path / "batch.onnx")
    manifest = edgekit.export(
        model, "x86-64", calibration=calibration, out=tmp_path / "dist", input_shapes={"image": (4, 3, 16, 16)}
    )
    assert all(artifact.interface.inputs[0].shape == (4, 3, 16, 16) for artifact in manifest.artifacts)
    assert all(artifact.verification.samples == 48 for artifact in manifest.artifacts)


def profile(folder: Path, lines: str) -> str:
    """A profile of one's own, over x86-64."""
    (folder / "targets").mkdir()
    path = folder / "targets" / "mine.toml"
    path.write_text(f'description = "mine"\nextends = "x86-64"\n{lines}\n')
    return str(path)


@pytest.mark.parametrize("float_ops", ['["Conv"]', '["Relu", "Clip"]'])
def test_a_profile_may_keep_operators_in_float(
    classifier: Path, calibration: Path, tmp_path: Path, float_ops: str
) -> None:
    target = profile(tmp_path, f"[quantization]\nfloat_ops = {float_ops}")
    manifest = edgekit.export(classifier, [target, "x86-64"], calibration=calibration, out=tmp_path / "dist")
    assert len(manifest.artifacts) == 6
    assert all(artifact.verification.sqnr_db > 20 for artifact in manifest.artifacts)


def test_arrays_are_no_path(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(edgekit.UsageError, match="got ndarray; expected a path"):
        edgekit.export(classifier, "x86-64", calibration=np.zeros(3), out=tmp_path)  # type: ignore[arg-type]
