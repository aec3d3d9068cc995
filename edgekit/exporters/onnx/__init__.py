"""ONNX for onnxruntime: the graph with its QDQ pairs, placed so that the runtime's integer kernels take everything."""

from pathlib import Path
from typing import Literal

import onnx_ir as ir

from edgekit.exporters import ExportedInterface, ExportOptions, UnsupportedNode
from edgekit.exporters.onnx.boundary import shape_boundary
from edgekit.exporters.onnx.decompose import decompose
from edgekit.exporters.onnx.half import to_half
from edgekit.exporters.onnx.integer import make_unsigned, place_integers
from edgekit.exporters.onnx.stamp import stamp
from edgekit.exporters.onnx.weights import fold_at_load, multiply_integers
from edgekit.graph import storage
from edgekit.graph.pads import SpellOutPads
from edgekit.interface import Precision


class OnnxExporter:
    """Writes ``.onnx``; every graph inside edgekit is ONNX, so nothing is unsupported."""

    format = "onnx"
    suffix = ".onnx"

    def unsupported(self, model: ir.Model) -> list[UnsupportedNode]:
        """Always empty."""
        return []

    def export(self, model: ir.Model, options: ExportOptions, path: Path) -> ExportedInterface:
        """Write ``model``, which stays as it is; weights above 2 GB go to ``<file name>.data`` beside ``path``."""
        written = model.clone()
        _lower(written, options.precision, options.activation_dtype)
        SpellOutPads()(written)
        interface = shape_boundary(written, options)
        stamp(written)
        storage.save(written, path)
        return interface


def _lower(model: ir.Model, precision: Precision, activation_dtype: Literal["int8", "uint8"]) -> None:
    match precision:
        case Precision.INT8:
            decompose(model)
            if activation_dtype == "uint8":
                make_unsigned(model)
            place_integers(model)
            fold_at_load(model, keep_integer_ops=True)
        case Precision.INT8_DYNAMIC:
            multiply_integers(model)
            fold_at_load(model)
        case Precision.INT8_WEIGHTS:
            fold_at_load(model)
        case Precision.FP16:
            to_half(model)
        case Precision.FP32:
            pass
