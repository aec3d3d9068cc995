"""Saved Keras models as ONNX."""

import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit.errors import ModelError
from edgekit.importers.input_shapes import Shape, resolve_input_shapes
from edgekit.importers.sniff import HDF5_MAGIC
from edgekit.importers.tensorflow_worker.convert import Interface, convert_function
from edgekit.importers.tensorflow_worker.keras_2 import renumber_nested_calls, replace_names, spell_out_operands
from edgekit.importers.tensorflow_worker.keras_config import clean_config
from edgekit.importers.tensorflow_worker.keras_tf_ops import tf_op_layers
from edgekit.importers.tensorflow_worker.names import unique

_MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
_BOMB_BYTES = 1 << 30
_BOMB_RATIO = 100
"""Trained weights hardly compress at all; a member above both limits was made to fill the disk."""


def convert_keras(path: Path, input_shapes: Mapping[str, Shape], output: Path) -> None:
    """Write the model saved at ``path`` as ONNX to ``output``. The working directory takes a cleaned copy of it."""
    with path.open("rb") as file:
        is_hdf5 = file.read(8) == HDF5_MAGIC
    cleaned, renamed = _cleaned_hdf5(path) if is_hdf5 else _cleaned_archive(path)
    import keras

    model = keras.saving.load_model(cleaned, custom_objects=tf_op_layers(), compile=False, safe_mode=True)
    cleaned.unlink()
    convert_loaded(model, input_shapes, output, renamed)


def convert_loaded(
    model: Any, input_shapes: Mapping[str, Shape], output: Path, source_names: Mapping[str, str] | None = None
) -> None:
    """Write a Keras model in memory as ONNX. ``source_names``: the file's names of renamed layers."""
    import keras

    source_names = source_names or {}

    if not getattr(model, "inputs", None):
        raise ModelError("the Keras model was never built, so its inputs are unknown; call it once before saving")
    flat = keras.Model(list(model.inputs), _flat(model.outputs))
    names = unique(_layer_names(flat.inputs, source_names))
    shapes = resolve_input_shapes(
        {name: list(t.shape) for name, t in zip(names, flat.inputs, strict=True)}, input_shapes
    )
    dtypes = [keras.backend.standardize_dtype(tensor.dtype) for tensor in flat.inputs]
    inputs = tuple((name, dtype, shapes[name]) for name, dtype in zip(names, dtypes, strict=True))
    outputs = unique(_layer_names(flat.outputs, source_names), taken=names)

    def positional(*tensors: object) -> Sequence[object]:
        return _flat(flat(list(tensors), training=False))

    convert_function(positional, Interface(inputs, tuple(outputs)), output)


def _layer_names(tensors: Sequence[Any], source_names: Mapping[str, str]) -> list[str]:
    names = [tensor._keras_history.operation.name for tensor in tensors]
    return [source_names.get(name, name) for name in names]


def _flat(tensors: Any) -> list[Any]:
    return list(tensors) if isinstance(tensors, list | tuple) else [tensors]


def _current(text: str, *, keras_2: bool) -> tuple[str, dict[str, str]]:
    """A configuration as Keras 3 reads it, and the original names of the layers that had to be renamed."""
    config = clean_config(_parsed(text))
    if keras_2:
        spell_out_operands(config)
        renumber_nested_calls(config)
    renamed = replace_names(config)
    return json.dumps(config), renamed


def _cleaned_hdf5(path: Path) -> tuple[Path, dict[str, str]]:
    import h5py  # type: ignore[import-untyped]

    copy = Path("model.h5")
    shutil.copyfile(path, copy)
    try:
        with h5py.File(copy, "r+") as file:
            config = file.attrs.get("model_config")
            if config is None:
                raise ModelError("the file holds weights only; save the whole model: model.save(path)")
            text = config.decode() if isinstance(config, bytes) else str(config)
            keras_2 = str(file.attrs.get("keras_version", "2")).startswith("2")
            config, renamed = _current(text, keras_2=keras_2)
            file.attrs["model_config"] = config
    except OSError as error:
        raise ModelError(f"is a damaged or truncated HDF5 file ({str(error)[:200]}); copy it again") from error
    return copy, renamed


def _cleaned_archive(path: Path) -> tuple[Path, dict[str, str]]:
    copy = Path("model.keras")
    renamed: dict[str, str] = {}
    try:
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
            _refuse_bombs(source)
            metadata = source.read("metadata.json") if "metadata.json" in source.namelist() else b"{}"
            keras_2 = str(_parsed(metadata.decode()).get("keras_version")).startswith("2")
            for member in _members(source):
                if member.filename == "config.json":
                    config, renamed = _current(source.read(member).decode(), keras_2=keras_2)
                    target.writestr(member.filename, config)
                    continue
                with source.open(member) as stream, target.open(member.filename, "w", force_zip64=True) as copied:
                    shutil.copyfileobj(stream, copied)
    except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError, UnicodeDecodeError, OSError) as error:
        raise ModelError(f"is a damaged or truncated Keras archive ({str(error)[:200]}); copy it again") from error
    return copy, renamed


def _refuse_bombs(archive: zipfile.ZipFile) -> None:
    """Check the sizes that the members declare; zipfile unpacks no more than that."""
    for member in _members(archive):
        if member.file_size > _BOMB_BYTES and member.file_size > _BOMB_RATIO * member.compress_size:
            raise ModelError(
                f"its {member.filename} would grow from {member.compress_size} to {member.file_size} bytes, which no "
                "model's weights do; save the model again"
            )


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """What a Keras archive consists of; anything else in it is not read."""
    return [m for m in archive.infolist() if m.filename in _MEMBERS or m.filename.startswith("assets/")]


def _parsed(text: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ModelError("the Keras file's model configuration is damaged; save the model again") from error
    if not isinstance(config, dict):
        raise ModelError("the Keras file's model configuration is no JSON object; save the model again")
    return config
