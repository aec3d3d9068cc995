"""``edgekit verify`` on a real export, and on manifests that somebody has changed."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edgekit
from edgekit.release.reading import read_manifest
from tests import toy

TARGET = "x86-64"


@pytest.fixture(scope="module")
def project(classifier: Path, calibration: Path, evaluation: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, its data and its export."""
    folder = tmp_path_factory.mktemp("project")
    for source, name in ((classifier, "model.onnx"), (calibration, "calibration.npz"), (evaluation, "eval.npz")):
        shutil.copy(source, folder / name)
    edgekit.export(
        folder / "model.onnx",
        [TARGET],
        calibration=folder / "calibration.npz",
        eval=folder / "eval.npz",
        out=folder / "dist",
    )
    return folder


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    """A copy of the project that a test may spoil."""
    return Path(shutil.copytree(project, tmp_path / "project"))


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    path = folder / "dist/manifest.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    return path


def test_what_was_exported_passes_with_the_figures_of_the_export(project: Path) -> None:
    found = edgekit.verify(project / "dist")
    recorded = json.loads((project / "dist/manifest.json").read_text())["artifacts"]
    document = found.to_json()
    assert [a["verification"] for a in document["artifacts"]] == [a["verification"] for a in recorded]
    assert [a["sha256"] for a in document["artifacts"]] == [a["sha256"] for a in recorded]
    assert document["schema"] == 1 and document["notes"] == []
    assert document["data"]["kind"] == "evaluation" and document["data"]["samples"] == 100
    assert all(a["hash_ok"] and a["emulated"] == [] for a in document["artifacts"])


def test_a_manifest_is_read_back_as_it_was_written(project: Path) -> None:
    path = project / "dist/manifest.json"
    assert read_manifest(path).to_json() == json.loads(path.read_text())


def test_changed_missing_and_cut_files_are_all_listed(copy: Path) -> None:
    tflite, mnn, onnx = (copy / f"dist/{TARGET}/model.{suffix}" for suffix in ("tflite", "mnn", "onnx"))
    content = bytearray(tflite.read_bytes())
    content[len(content) // 2] ^= 1
    tflite.write_bytes(content)
    mnn.unlink()
    onnx.write_bytes(onnx.read_bytes()[:-1])
    with pytest.raises(edgekit.GateError) as caught:
        edgekit.verify(copy / "dist", hashes_only=True)
    told = str(caught.value)
    assert "3 of 3 artifacts" in told
    assert "model.tflite: has SHA-256" in told and "model.mnn: is missing" in told and "model.onnx: has" in told


def _set(*keys: Any, to: object) -> Callable[[dict[str, Any]], object]:
    def edit(document: dict[str, Any]) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = to

    return edit


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (_set("schema", to=2), '"schema" is 2; expected 1'),
        (_set("schema", to="1"), '"schema" is "1"'),
        (lambda document: document.pop("schema"), "is no manifest"),
        (_set("artifacts", to=[]), "at least one artifact"),
        (_set("artifacts", to={}), '"artifacts" is {}'),
        (
            _set("artifacts", 0, "path", to="../model.onnx"),
            '"artifacts[0].path" is "../model.onnx"; expected a path in',
        ),
        (_set("artifacts", 0, "path", to="/etc/passwd"), "a path inside the manifest's folder"),
        (_set("artifacts", 0, "path", to="link/passwd"), "a path inside the manifest's folder"),
        (_set("artifacts", 1, "sha256", to="0" * 63), '"artifacts[1].sha256"'),
        (_set("artifacts", 0, "bytes", to=-1), '"artifacts[0].bytes" is -1'),
        (_set("artifacts", 0, "format", to="exe"), "one of onnx, tflite, mnn"),
        (_set("artifacts", 0, "precision", to="int4"), '"artifacts[0].precision" is "int4"'),
        (_set("artifacts", 0, "inputs", 0, "dtype", to="object"), '"artifacts[0].inputs[0].dtype"'),
        (_set("artifacts", 0, "outputs", 0, "permutation", to=[0, 0]), "an order of the 2 axes"),
        (_set("artifacts", 0, "verification", "cosine", to=None), '"artifacts[0].verification.cosine" is null'),
        (_set("settings", "max_drop", to=500), '"settings.max_drop" is 500'),
        (_set("model", "sha256", to=None), '"model.sha256"'),
        (lambda document: document.pop("settings"), '"settings" is missing'),
    ],
)
def test_a_wrong_key_is_named(copy: Path, edit: Callable[[dict[str, Any]], object], told: str) -> None:
    (copy / "dist/link").symlink_to("/etc")
    path = change(copy, edit)
    with pytest.raises(edgekit.InputError) as caught:
        edgekit.verify(path)
    assert told in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "\xff\xfe", "[" * 100_000])
def test_what_is_no_document_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(edgekit.InputError, match=r"^[^\n]*manifest\.json[^\n]*$"):
        edgekit.verify(tmp_path)


def test_a_folder_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(edgekit.InputError, match="No such file"):
        edgekit.verify(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_value_is_read_or_refused(project: Path, tmp_path: Path, data: st.DataObject) -> None:
    document = json.loads((project / "dist/manifest.json").read_text())
    place, key = None, None
    value: Any = document
    while isinstance(value, dict | list) and value and (place is None or data.draw(st.booleans())):
        place, key = value, data.draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value))))
        value = place[key]
    assert place is not None
    place[key] = data.draw(JSON)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(document))
    try:
        read_manifest(path)
    except edgekit.InputError as error:
        assert "\n" not in str(error) and str(path) in str(error)


def test_without_the_source_model_the_hashes_can_be_checked(copy: Path) -> None:
    (copy / "model.onnx").rename(copy / "moved.onnx")
    with pytest.raises(edgekit.ModelError, match=r"--model PATH, or --hashes-only"):
        edgekit.verify(copy / "dist")
    found = edgekit.verify(copy / "dist", hashes_only=True)
    assert found.model is None and found.data is None
    assert all(artifact.verification is None for artifact in found.artifacts)
    assert edgekit.verify(copy / "dist", model=copy / "moved.onnx").artifacts[0].verification is not None


def test_another_source_model_is_refused(copy: Path) -> None:
    toy.save_classifier(copy / "model.onnx", opset=18)
    with pytest.raises(edgekit.ModelError, match="is not the model that was exported"):
        edgekit.verify(copy / "dist")


def test_recorded_data_is_used_while_it_is_what_it_was(copy: Path) -> None:
    shutil.copy(copy / "calibration.npz", copy / "eval.npz")
    found = edgekit.verify(copy / "dist")
    assert found.data is not None and found.data.kind == "calibration" and len(found.data.samples) == 48
    assert any("eval.npz has changed since the export" in note for note in found.notes)
    (copy / "calibration.npz").unlink()
    found = edgekit.verify(copy / "dist")
    assert found.data is not None and found.data.kind == "random"
    assert any("calibration data is not used" in note and "no such file" in note for note in found.notes)


def test_given_data_comes_first(copy: Path) -> None:
    pixels, classes = toy.images(40, seed=5)
    np.savez(copy / "mine.npz", x=pixels, y=classes)
    found = edgekit.verify(copy / "dist", data=copy / "mine.npz", samples=20)
    assert found.data is not None and found.data.kind == "given"
    verification = found.artifacts[0].verification
    assert verification is not None and verification.samples == 20 and verification.top1 is not None
    with pytest.raises(edgekit.DataError, match=r"missing\.npz"):
        edgekit.verify(copy / "dist", data=copy / "missing.npz")


def test_a_manifest_does_not_run_code(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "dist/intruder.py").write_text("raise SystemExit('ran')\n")
    monkeypatch.chdir(copy / "dist")

    def edit(document: dict[str, Any]) -> None:
        document["settings"]["eval"] = None
        document["calibration"]["path"] = "intruder:samples"

    found = edgekit.verify(change(copy, edit))
    assert found.data is not None and found.data.kind == "random"
    assert any("intruder:samples" in note and "--data" in note for note in found.notes)


def test_an_artifact_that_is_not_good_enough_fails_the_gate_of_the_export(copy: Path) -> None:
    other = copy / "other"
    arrays = dict(np.load(copy / "calibration.npz"))
    np.savez(copy / "dark.npz", x=arrays["x"] * 0.01)  # calibrated on far too small values
    edgekit.export(copy / "model.onnx", [TARGET], calibration=copy / "dark.npz", out=other, max_drop=100, name="model")
    shutil.rmtree(copy / "dist" / TARGET)
    shutil.copytree(other / TARGET, copy / "dist" / TARGET)
    artifacts = json.loads((other / "manifest.json").read_text())["artifacts"]
    path = change(copy, _set("artifacts", to=artifacts))
    with pytest.raises(edgekit.GateError, match=r"model\.tflite, .*: cosine 0.*: do not ship it; export it again"):
        edgekit.verify(path)
    # The export's --max-drop is the gate here too.
    change(copy, _set("settings", "max_drop", to=100))
    assert len(edgekit.verify(path).artifacts) == 3


def test_figures_that_differ_from_the_export_are_told(copy: Path) -> None:
    path = change(copy, _set("artifacts", 0, "verification", "sqnr_db", to=99.0))
    notes = edgekit.verify(path).notes
    assert len(notes) == 1 and "model.tflite: SQNR" in notes[0] and "at the export 99.0 dB" in notes[0]


def test_a_profile_that_is_gone_or_changed_is_told(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = change(copy, _set("settings", "targets", TARGET, to="0" * 64))
    assert any("has changed since the export" in note for note in edgekit.verify(path, samples=8).notes)

    def rename(document: dict[str, Any]) -> None:
        for artifact in document["artifacts"]:
            artifact["target"] = "their-board"

    notes = edgekit.verify(change(copy, rename), samples=8).notes
    assert any("their-board: held against the default gate" in note for note in notes)


def test_flags_that_make_no_sense(project: Path) -> None:
    dist = project / "dist"
    for keywords, told in (
        ({"target": ["x86-46"]}, 'did you mean "x86-64"'),
        ({"cpu": ["cortex-a35"]}, "cortex-a53"),
        ({"emulate": True}, "nothing to emulate for x86-64"),
        ({"samples": 0}, "--samples 0"),
        ({"hashes_only": True, "model": "m.onnx"}, "leave --model out"),
        ({"sysroot": "/nowhere", "emulate": True}, "no such folder"),
        ({"emulat": True}, 'did you mean "emulate"'),
    ):
        with pytest.raises(edgekit.UsageError) as caught:
            edgekit.verify(dist, **keywords)  # type: ignore[arg-type]
        assert told in str(caught.value)


def test_the_command_prints_a_table_or_a_document(copy: Path) -> None:
    command = [sys.executable, "-m", "edgekit", "verify", str(copy / "dist"), "--hashes-only"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["artifacts"][0]["path"] == f"{TARGET}/model.tflite"
    assert "unchanged" in done.stderr and "not compared with the source model" in done.stderr
    (copy / f"dist/{TARGET}/model.mnn").write_bytes(b"")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 5 and len(done.stderr.splitlines()) == 1
    assert "model.mnn: has 0 bytes" in done.stderr
