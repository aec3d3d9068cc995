"""The TFLite exporter: ONNX graph in, .tflite out, without TensorFlow."""

from pathlib import Path

import onnx_ir as ir

from edgekit.exporters import ExportedInterface, ExportOptions, UnsupportedNode, raise_unsupported
from edgekit.exporters.tflite.convert import convert
from edgekit.exporters.tflite.writer import serialize, unique_names
from edgekit.interface import Precision


class TFLiteExporter:
    """Writes standard TensorFlow Lite files: builtin operators only, channels last inside, weights permuted."""

    format = "tflite"
    suffix = ".tflite"

    def unsupported(self, model: ir.Model) -> list[UnsupportedNode]:
        """Every node of ``model`` that TFLite's builtin operators cannot express: a dry run of the export itself."""
        precision = Precision(model.metadata_props.get("edgekit.precision", Precision.FP32))
        return convert(model, ExportOptions(precision)).unsupported

    def export(self, model: ir.Model, options: ExportOptions, path: Path) -> ExportedInterface:
        """Write ``model`` to ``path``.

        Raises UnsupportedError naming every node that cannot be expressed, ModelError when the file would exceed 2 GB.
        """
        conversion = convert(model, options)
        raise_unsupported(self.format, conversion.unsupported)
        unique_names(conversion.model)
        path.write_bytes(serialize(conversion.model))
        return conversion.interface
