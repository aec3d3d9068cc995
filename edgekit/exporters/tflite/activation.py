"""Which activations an operator can do on its way out."""

import numpy as np
import onnx_ir as ir

from edgekit.exporters.tflite.model import Quantization
from edgekit.exporters.tflite.quantization import initializer

FUSING = frozenset(
    [
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "CONV_3D",
        "FULLY_CONNECTED",
        "TRANSPOSE_CONV",
        "ADD",
        "SUB",
        "MUL",
        "DIV",
        "MAX_POOL_2D",
        "AVERAGE_POOL_2D",
    ]
)
"""Builtins whose ``fused_activation_function`` the kernels honour."""

_NAMES = {(0.0, np.inf): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}


def clamp_range(node: ir.Node) -> tuple[float, float] | None:
    """The real range to which Relu or a Clip with constant bounds clamps; None for any other node."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    if node.op_type != "Clip":
        return None
    bounds = [-np.inf, np.inf]
    for index in (1, 2):
        if len(node.inputs) > index and node.inputs[index] is not None:
            bound = initializer(node.inputs[index])
            if bound is None:
                return None
            bounds[index - 1] = float(np.ravel(bound)[0])
    return bounds[0], bounds[1]


def fused_name(node: ir.Node, quantization: Quantization | None) -> str | None:
    """The fused activation that does what ``node`` does, or None.

    ``quantization`` is that of the node's int8 output: a clamp to a range that the codes cannot leave needs nothing.
    """
    bounds = clamp_range(node)
    if bounds is None or node.outputs[0].dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE):
        return None
    if bounds in _NAMES:
        return _NAMES[bounds]
    if quantization is None:
        return None
    half = quantization.scale[0] / 2
    implied = bounds[0] - half <= quantization.minimum and quantization.maximum <= bounds[1] + half
    return "NONE" if implied else None
