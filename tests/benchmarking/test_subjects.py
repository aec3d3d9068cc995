import hashlib
import json
from pathlib import Path

import pytest

from edgekit.benchmarking.subjects import is_artifact, matching_artifact, resolve_artifacts
from edgekit.errors import InputError, ModelError, UsageError
from edgekit.exporters import ExportedInterface
from edgekit.interface import Layout
from edgekit.release.manifest import Artifact, Manifest, ModelRecord
from edgekit.runtimes import Delegation, Fallback
from edgekit.verification.metrics import Verification

DELEGATION = Delegation(7, 8, (Fallback("SOFTMAX", "probabilities", "XNNPACK has no int8 kernel for it"),))
VERIFICATION = Verification(runtime="litert", samples=1, sqnr_db=30.0, cosine=1.0, max_abs_error=0.0)


def write_export(
    folder: Path, names: tuple[str, ...] = ("x86-64/net.tflite", "x86-64/net.mnn", "x86-64/net.onnx")
) -> Path:
    """An export whose artifacts are some bytes."""
    artifacts = []
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{folder.name} {name}".encode())
        artifacts.append(_listed(path, name))
    model = ModelRecord("../net.onnx", "onnx", "0" * 64, 1, 1, (), ())
    settings = {"input_shapes": {}, "targets": {}}
    Manifest(folder, "net", model, None, tuple(artifacts), settings, {}).write(folder / "manifest.json")
    return folder


def _listed(path: Path, name: str) -> Artifact:
    content = path.read_bytes()
    return Artifact(
        target=path.parent.name,
        format=path.suffix[1:],
        path=name,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        precision="int8",
        layout=Layout.KEEP,
        interface=ExportedInterface((), ()),
        verification=VERIFICATION,
        delegation=DELEGATION,
    )


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return write_export(tmp_path / "dist")


@pytest.mark.parametrize("argument", ["", "manifest.json"])
def test_an_export_is_all_of_its_artifacts(export: Path, argument: str) -> None:
    artifacts = resolve_artifacts([export / argument])
    assert [artifact.format for artifact in artifacts] == ["tflite", "mnn", "onnx"]
    assert artifacts[0].promised == DELEGATION
    assert (artifacts[0].target, artifacts[0].precision, artifacts[0].runtime) == ("x86-64", "int8", "litert")


def test_a_target_chooses_among_the_artifacts_of_an_export(export: Path) -> None:
    assert len(resolve_artifacts([export], target="x86-64")) == 3
    assert [each.path for each in resolve_artifacts([export / "x86-64"])] == [
        each.path for each in resolve_artifacts([export])
    ]
    with pytest.raises(UsageError, match=r"nothing for target x86-46; did you mean .x86-64.+; it has x86-64"):
        resolve_artifacts([export], target="x86-46")


def test_a_file_of_an_export_finds_its_manifest(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(export / "x86-64")
    (artifact,) = resolve_artifacts(["net.tflite"])
    assert str(artifact.path) == "net.tflite", "paths stay as they were typed"
    assert artifact.target == "x86-64" and artifact.promised is not None
    assert artifact.sha256 == hashlib.sha256(b"dist x86-64/net.tflite").hexdigest()
    assert artifact.bytes == len("dist x86-64/net.tflite")


def test_a_manifest_speaks_of_no_other_content(export: Path) -> None:
    (export / "x86-64/net.tflite").write_bytes(b"made since")
    (artifact,) = resolve_artifacts([export / "x86-64/net.tflite"])
    assert artifact.target is None and artifact.promised is None
    with pytest.raises(ModelError, match=r"net\.tflite: not the file that .*manifest\.json lists"):
        resolve_artifacts([export])


def test_a_file_by_itself_promises_nothing(tmp_path: Path) -> None:
    (tmp_path / "alone.ONNX").write_bytes(b"onnx")
    (artifact,) = resolve_artifacts([tmp_path / "alone.ONNX"])
    assert (artifact.format, artifact.target, artifact.promised) == ("onnx", None, None)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"artifacts": 3}', '{"artifacts": [{"path": 3}]}', "\xff"])
def test_another_programs_manifest_beside_a_file_is_not_ours(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content, encoding="latin-1")
    (tmp_path / "net.mnn").write_bytes(b"mnn")
    (artifact,) = resolve_artifacts([tmp_path / "net.mnn"])
    assert artifact.target is None
    with pytest.raises(InputError, match="manifest"):
        resolve_artifacts([tmp_path])


def test_a_runtime_keeps_the_artifacts_that_it_runs(export: Path) -> None:
    assert [artifact.format for artifact in resolve_artifacts([export], "mnn")] == ["mnn"]


def test_a_file_for_another_runtime_is_an_error(export: Path) -> None:
    with pytest.raises(UsageError, match=r"mnn does not run \.onnx files; expected --runtime onnxruntime"):
        resolve_artifacts([export / "x86-64/net.onnx"], "mnn")


def test_an_export_without_anything_for_the_runtime_is_an_error(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "dist", ("x86-64/net.onnx",))
    with pytest.raises(UsageError, match="nothing to measure with mnn; it lists onnx"):
        resolve_artifacts([folder], "mnn")


def test_the_same_file_twice_is_an_error_whatever_it_is_called(export: Path, tmp_path: Path) -> None:
    (tmp_path / "link.tflite").symlink_to(export / "x86-64/net.tflite")
    with pytest.raises(UsageError, match="given twice"):
        resolve_artifacts([export, tmp_path / "link.tflite"])


def test_a_copy_is_another_artifact(export: Path) -> None:
    (export / "copy.tflite").write_bytes((export / "x86-64/net.tflite").read_bytes())
    artifacts = resolve_artifacts([export / "x86-64/net.tflite", export / "copy.tflite"])
    assert artifacts[0].sha256 == artifacts[1].sha256


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("model.keras", UsageError, "not an artifact; expected a .tflite, .mnn or .onnx file"),
        ("missing.tflite", ModelError, "no such file"),
        ("missing", UsageError, "not an artifact"),
        ("missing/manifest.json", InputError, "manifest.json: cannot be read: No such file"),
        ("empty.tflite", ModelError, "the file is empty"),
        ("folder", InputError, "folder/manifest.json: cannot be read: No such file"),
        ("folder.tflite", InputError, "folder.tflite/manifest.json: cannot be read"),
    ],
)
def test_what_is_no_artifact_is_one_line(tmp_path: Path, name: str, error: type[Exception], message: str) -> None:
    (tmp_path / "empty.tflite").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.tflite").mkdir()
    with pytest.raises(error) as raised:
        resolve_artifacts([tmp_path / name])
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_nothing_is_an_error() -> None:
    with pytest.raises(UsageError, match="nothing to measure"):
        resolve_artifacts([])


def test_a_manifest_without_a_delegation_promises_nothing(export: Path) -> None:
    path = export / "manifest.json"
    document = json.loads(path.read_text())
    document["artifacts"][0]["delegation"] = None
    path.write_text(json.dumps(document))
    assert resolve_artifacts([export])[0].promised is None


def test_artifacts_are_told_from_documents_and_runs(export: Path) -> None:
    assert is_artifact(export) and is_artifact(export / "manifest.json") and is_artifact("old.tflite")
    assert not is_artifact("results.json") and not is_artifact("20261122-033834-1019f6") and not is_artifact("last")


def test_an_old_export_is_compared_by_target_and_format(export: Path, tmp_path: Path) -> None:
    old = write_export(tmp_path / "old", ("x86-64/net.tflite", "android-arm64/net.tflite", "x86-64/net.onnx"))
    new = resolve_artifacts([export])[0]
    assert matching_artifact(old, new).path == old / "x86-64/net.tflite"
    assert matching_artifact(old / "x86-64/net.onnx", new).format == "onnx", "a file is what was asked for"
    mnn = resolve_artifacts([export])[1]
    with pytest.raises(UsageError, match="it has 0 artifacts to compare with"):
        matching_artifact(old, mnn)
