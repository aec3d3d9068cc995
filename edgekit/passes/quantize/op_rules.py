"""Which operators run on integers, and what each demands of its tensors: one row per operator.

The rows follow the int8 kernels of TFLite (quantization specification, "Int8 quantized operator specifications") and of
onnxruntime. To teach edgekit an operator, add a row; operators without one stay float.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

import onnx_ir as ir

from edgekit.passes.quantize.qparams import QParams, fixed_qparams


class Output(Enum):
    """How an operator's output range comes about."""

    FREE = auto()
    SAME_AS_INPUTS = auto()


@dataclass(frozen=True, slots=True)
class OpRule:
    """What one operator demands.

    ``activations`` are the input positions that carry quantized tensors (None: all). ``weight`` and ``bias`` are the
    positions of constants with a quantization of their own; ``weight_axis(node)`` is the output-channel axis, or None
    for one scale. ``weight_optional``: a weight may also be an activation. ``fuses_activation``: a Relu or Clip that
    follows is part of the operator.
    """

    activations: tuple[int, ...] | None = (0,)
    output: Output | QParams = Output.FREE
    weight: int | None = None
    weight_axis: Callable[[ir.Node], int | None] = lambda _: 0
    weight_optional: bool = False
    bias: int | None = None
    fuses_activation: bool = False


def _gemm_axis(node: ir.Node) -> int:
    return 0 if node.attributes.get_int("transB", 0) else 1


def _conv_transpose_axis(node: ir.Node) -> int | None:
    return 1 if node.attributes.get_int("group", 1) == 1 else None


_SAME = OpRule(output=Output.SAME_AS_INPUTS)
_SAME_ALL = OpRule(activations=None, output=Output.SAME_AS_INPUTS)
_ELEMENTWISE = OpRule(activations=(0, 1), fuses_activation=True)
_UNARY = OpRule()

OP_RULES: dict[str, OpRule] = {
    "Conv": OpRule(weight=1, bias=2, fuses_activation=True),
    "ConvTranspose": OpRule(weight=1, bias=2, weight_axis=_conv_transpose_axis),
    "Gemm": OpRule(weight=1, bias=2, weight_axis=_gemm_axis, fuses_activation=True),
    "MatMul": OpRule(activations=(0, 1), weight=1, weight_axis=lambda _: 1, weight_optional=True),
    "Add": _ELEMENTWISE,
    "Sub": _ELEMENTWISE,
    "Mul": _ELEMENTWISE,
    "Relu": _UNARY,
    "Clip": _UNARY,
    "Gelu": _UNARY,
    "LeakyRelu": _UNARY,
    "PRelu": OpRule(activations=(0, 1)),
    "HardSwish": _UNARY,
    "ReduceMean": _UNARY,
    "ReduceSum": _UNARY,
    "Sigmoid": OpRule(output=fixed_qparams(1 / 256, -128)),
    "Softmax": OpRule(output=fixed_qparams(1 / 256, -128)),
    "LogSoftmax": OpRule(output=fixed_qparams(16 / 256, 127)),
    "Tanh": OpRule(output=fixed_qparams(1 / 128, 0)),
    "GlobalAveragePool": _UNARY,
    "AveragePool": _SAME,
    "MaxPool": _SAME,
    "GlobalMaxPool": _SAME,
    "ReduceMax": _SAME,
    "ReduceMin": _SAME,
    "ArgMax": _SAME,
    "ArgMin": _SAME,
    "Reshape": _SAME,
    "Flatten": _SAME,
    "Squeeze": _SAME,
    "Unsqueeze": _SAME,
    "Transpose": _SAME,
    "Slice": _SAME,
    "Split": _SAME,
    "Gather": _SAME,
    "Expand": _SAME,
    "Tile": _SAME,
    "Pad": _SAME,
    "Resize": _SAME,
    "DepthToSpace": _SAME,
    "SpaceToDepth": _SAME,
    "Concat": _SAME_ALL,
    "Max": _SAME_ALL,
    "Min": _SAME_ALL,
}
