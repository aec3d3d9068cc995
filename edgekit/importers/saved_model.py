"""Reading SavedModel folders, those of TensorFlow 1 included."""

from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir

from edgekit.importers.input_shapes import Shape
from edgekit.importers.tensorflow_process import import_through_tensorflow


def import_saved_model(path: Path, input_shapes: Mapping[str, Shape] | None = None) -> ir.Model:
    """The graph of a SavedModel's serving signature, in the form that ImportedModel promises.

    Inputs and outputs have the signature's names. Raises ModelError when there is no signature, or no single one that
    serves; see ``edgekit.importers.import_model``.
    """
    return import_through_tensorflow("SavedModel", path, input_shapes)
