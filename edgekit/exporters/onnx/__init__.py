"""ONNX for onnxruntime: the graph with its QDQ pairs, placed so that the runtime's integer kernels take everything."""

from pathlib import Path

import onnx_ir as ir

from edgekit.exporters import ExportedInterface, ExportOptions, UnsupportedNode
from edgekit.exporters.onnx.boundary import shape_boundary
from edgekit.exporters.onnx.decompose import decompose
from edgekit.exporters.onnx.integer import make_unsigned, place_integers
from edgekit.exporters.onnx.stamp import stamp
from edgekit.graph import storage
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
        if options.precision is Precision.INT8:
            decompose(written)
            if options.activation_dtype == "uint8":
                make_unsigned(written)
            place_integers(written)
        interface = shape_boundary(written, options)
        stamp(written)
        storage.save(written, path)
        return interface
