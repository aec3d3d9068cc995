"""One function per ONNX operator, by family; importing this package fills the table."""

import edgekit.exporters.tflite.ops.activation
import edgekit.exporters.tflite.ops.arithmetic
import edgekit.exporters.tflite.ops.convolution
import edgekit.exporters.tflite.ops.gather
import edgekit.exporters.tflite.ops.matmul
import edgekit.exporters.tflite.ops.normalization
import edgekit.exporters.tflite.ops.pooling
import edgekit.exporters.tflite.ops.recurrent
import edgekit.exporters.tflite.ops.reduction
import edgekit.exporters.tflite.ops.resize
import edgekit.exporters.tflite.ops.shape
import edgekit.exporters.tflite.ops.slicing
import edgekit.exporters.tflite.ops.transposed_convolution
import edgekit.exporters.tflite.ops.unary  # noqa: F401
from edgekit.exporters.tflite.ops.registry import RULES, Rule

__all__ = ["RULES", "Rule"]
