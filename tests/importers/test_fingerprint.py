"""The identity of a source model."""

import hashlib
from pathlib import Path

from edgekit.importers.fingerprint import model_sha256


def test_a_file_has_the_hash_that_everyone_computes(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"content")
    assert model_sha256(path) == hashlib.sha256(b"content").hexdigest()


def test_a_folder_is_told_by_its_names_and_contents(tmp_path: Path) -> None:
    def folder(name: str, files: dict[str, str]) -> str:
        for relative, content in files.items():
            path = tmp_path / name / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return model_sha256(tmp_path / name)

    first = folder("first", {"a": "1", "variables/b": "2"})
    assert folder("moved", {"variables/b": "2", "a": "1"}) == first
    assert folder("renamed", {"a": "1", "variables/c": "2"}) != first
    assert folder("changed", {"a": "1", "variables/b": "3"}) != first
    assert folder("shifted", {"a": "12", "variables/b": ""}) != first
