"""Reading float ``.tflite`` files, through tf2onnx."""

from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir

from edgekit.importers.input_shapes import Shape
from edgekit.importers.tensorflow_process import import_through_tensorflow


def import_tflite(path: Path, input_shapes: Mapping[str, Shape] | None = None) -> ir.Model:
    """The graph of a float TFLite file, in the form that ImportedModel promises, made in a subprocess.

    Inputs and outputs have the signature's names where there is one signature, else the tensors' names.
    Raises ModelError for quantized files; see ``edgekit.importers.import_model``.
    """
    return import_through_tensorflow("TFLite", path, input_shapes)
