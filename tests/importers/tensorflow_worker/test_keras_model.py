"""Keras archives are opened with care; nothing here needs TensorFlow."""

import zipfile
from pathlib import Path

import pytest

from edgekit.errors import ModelError
from edgekit.importers.tensorflow_worker import keras_model


def test_an_archive_that_would_fill_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(keras_model, "_BOMB_BYTES", 1 << 20)
    with zipfile.ZipFile("bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(1 << 22))
    with pytest.raises(ModelError, match=r"model\.weights\.h5 would grow from \d+ to 4194304 bytes"):
        keras_model._cleaned_archive(Path("bomb.keras"))


def test_only_what_keras_wrote_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("source.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("config.json", "metadata.json", "model.weights.h5", "assets/words.txt", "../evil", "other.bin"):
            archive.writestr(name, "{}")
    monkeypatch.setattr(keras_model, "_current", lambda text, keras_2: (text, {}))
    copy, _ = keras_model._cleaned_archive(Path("source.keras"))
    with zipfile.ZipFile(copy) as archive:
        names = archive.namelist()
    assert names == ["config.json", "metadata.json", "model.weights.h5", "assets/words.txt"]
