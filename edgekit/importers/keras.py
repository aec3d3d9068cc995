"""Reading Keras models: ``.keras`` archives and ``.h5`` files of Keras 3 and Keras 2."""

from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir

from edgekit.importers.input_shapes import Shape
from edgekit.importers.tensorflow_process import import_through_tensorflow


def import_keras(path: Path, input_shapes: Mapping[str, Shape] | None = None) -> ir.Model:
    """The graph of a whole saved Keras model, in the form that ImportedModel promises; TensorFlow runs in a subprocess.

    Inputs and outputs are named after their layers. Raises ModelError for weights-only files, Python lambdas and custom
    layers; see ``edgekit.importers.import_model``.
    """
    return import_through_tensorflow("Keras", path, input_shapes)
