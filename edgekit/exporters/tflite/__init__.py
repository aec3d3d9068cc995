"""TensorFlow Lite files, written straight from the graph.

convert.py walks the graph through the table in ops/; lowering.py holds what the functions there share; layout.py is the
arithmetic of layouts; cleanup.py tidies the operators; writer.py and versions.py make the bytes.
"""

from edgekit.exporters.tflite.exporter import TFLiteExporter

__all__ = ["TFLiteExporter"]
