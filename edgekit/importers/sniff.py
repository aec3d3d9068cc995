"""What kind of model a path holds, told by its content first and by its name second."""

import zipfile
from enum import StrEnum
from pathlib import Path

from edgekit.errors import ModelError

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
TFLITE_MAGIC = b"TFL3"
_ZIP_MAGIC = b"PK\x03\x04"
_KERAS_SUFFIXES = {".keras", ".h5", ".hdf5"}
_KNOWN = "edgekit reads .onnx, .keras, .h5, .tflite and SavedModel folders"


class Source(StrEnum):
    """Where a model comes from; the value is the manifest's ``model.format``."""

    KERAS = "keras"
    SAVED_MODEL = "saved_model"
    ONNX = "onnx"
    TFLITE = "tflite"


def identify(path: Path) -> Source:
    """The source format of ``path``. Raises ModelError naming what was expected when it is none that edgekit reads."""
    if path.is_dir():
        return _identify_folder(path)
    if not path.exists():
        raise ModelError(f"{path}: no such file or folder; {_KNOWN}")
    if not path.is_file():
        raise ModelError(f"{path}: is not a regular file; {_KNOWN}")
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise ModelError(f"{path}: the file is empty; {_expected(path)}")
    if head.startswith(HDF5_MAGIC):
        return Source.KERAS
    if head[4:8] == TFLITE_MAGIC:
        return Source.TFLITE
    if head.startswith(_ZIP_MAGIC):
        return _identify_zip(path)
    return _identify_by_suffix(path)


def _identify_folder(path: Path) -> Source:
    if any((path / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        return Source.SAVED_MODEL
    if (path / "keras_metadata.pb").is_file() or (path / "fingerprint.pb").is_file():
        raise ModelError(
            f"{path}: the SavedModel is incomplete: saved_model.pb is missing; copy the whole folder again"
        )
    raise ModelError(f"{path}: is not a SavedModel folder: expected saved_model.pb in it; {_KNOWN}")


def _identify_zip(path: Path) -> Source:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise ModelError(f"{path}: is a damaged or truncated archive ({error}); {_expected(path)}") from error
    if "config.json" in names and "model.weights.h5" in names:
        return Source.KERAS
    if any(name.endswith("data.pkl") for name in names):
        raise ModelError(f"{path}: is a PyTorch file, which would execute code; export it: torch.onnx.export(model, …)")
    raise ModelError(f"{path}: is an archive, but no Keras model (config.json and model.weights.h5); {_KNOWN}")


def _identify_by_suffix(path: Path) -> Source:
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return Source.ONNX
    if suffix in _KERAS_SUFFIXES or suffix == ".tflite":
        raise ModelError(f"{path}: is not a {suffix} model or is damaged; {_expected(path)}")
    if suffix in {".pt", ".pth", ".ckpt"}:
        raise ModelError(f"{path}: PyTorch files would execute code; export the model: torch.onnx.export(model, …)")
    if path.name in {"saved_model.pb", "saved_model.pbtxt"}:
        raise ModelError(f"{path}: give the SavedModel folder instead: {path.parent}")
    raise ModelError(f'{path}: unknown model format "{suffix or path.name}"; {_KNOWN}')


def _expected(path: Path) -> str:
    expectations = {
        ".onnx": "expected an ONNX model (protobuf)",
        ".tflite": "expected a TFLite flatbuffer (TFL3)",
        ".keras": "expected a Keras archive, as model.save() writes it",
        ".h5": "expected an HDF5 file, as model.save() writes it",
        ".hdf5": "expected an HDF5 file, as model.save() writes it",
    }
    return expectations.get(path.suffix.lower(), _KNOWN)
