"""From a model file of any supported source to the graph: one module per source format."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from edgekit.errors import EdgekitError, ModelError
from edgekit.importers.fingerprint import model_sha256
from edgekit.importers.input_shapes import Shape
from edgekit.importers.sniff import Source, identify
from edgekit.interface import TensorSpec

__all__ = ["ImportedModel", "Source", "import_model"]


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A source model as a graph.

    ``model`` has opset ``edgekit.graph.OPSET`` of the default domain only, no functions, static inputs and outputs, and
    the source's input and output names. ``sha256`` is that of the file, or of a folder's paths and contents; an ONNX
    file and its external data count as a folder.
    """

    model: ir.Model
    path: Path
    format: Source
    sha256: str

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, in the source's order."""
        return tuple(_spec(value) for value in self.model.graph.inputs)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs, in the source's order."""
        return tuple(_spec(value) for value in self.model.graph.outputs)


def import_model(path: Path, *, input_shapes: Mapping[str, Shape] | None = None) -> ImportedModel:
    """Read an ONNX, Keras (``.keras``, ``.h5``), SavedModel or float TFLite model.

    ``input_shapes`` gives sizes to open dimensions, by input name. An open first dimension is 1 otherwise.
    Raises ModelError for what cannot be read, UnsupportedError for operators outside standard ONNX, and DependencyError
    when TensorFlow is needed and not installed. Nothing in the file is executed.
    """
    path = Path(path)
    try:
        source = identify(path)
        model = _importer(source)(path, input_shapes)
        return ImportedModel(model, path, source, model_sha256(path, _external_files(path, source)))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    except EdgekitError as error:
        message = "".join(char if char.isprintable() else " " for char in str(error))  # names come from the file
        raise type(error)(message if str(path) in message else f"{path}: {message}") from error


def _importer(source: Source) -> Callable[[Path, Mapping[str, Shape] | None], ir.Model]:
    match source:
        case Source.ONNX:
            from edgekit.importers.onnx import import_onnx

            return import_onnx
        case Source.KERAS:
            from edgekit.importers.keras import import_keras

            return import_keras
        case Source.SAVED_MODEL:
            from edgekit.importers.saved_model import import_saved_model

            return import_saved_model
        case Source.TFLITE:
            from edgekit.importers.tflite import import_tflite

            return import_tflite


def _external_files(path: Path, source: Source) -> list[Path]:
    if source is not Source.ONNX:
        return []
    from edgekit.importers.external_data import external_files
    from edgekit.importers.onnx import read_proto

    return external_files(read_proto(path), path.parent)


def _spec(value: ir.Value) -> TensorSpec:
    assert value.name is not None and value.dtype is not None and value.shape is not None
    return TensorSpec(value.name, str(value.dtype.numpy()), tuple(dim for dim in value.shape if isinstance(dim, int)))
