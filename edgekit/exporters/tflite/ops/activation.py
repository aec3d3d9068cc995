"""Activation functions."""

import math

import numpy as np
import onnx_ir as ir

from edgekit.exporters.tflite import layout
from edgekit.exporters.tflite.activation import clamp_range
from edgekit.exporters.tflite.layout import Permutation
from edgekit.exporters.tflite.lowering import Lowering, Result
from edgekit.exporters.tflite.model import Quantization, Tensor
from edgekit.exporters.tflite.ops.arithmetic import common_label, operand
from edgekit.exporters.tflite.ops.expressions import binary, scalar, unary
from edgekit.exporters.tflite.ops.registry import Wants, always, lowers
from edgekit.exporters.tflite.ops.unary import carry_shuffle

_CLAMPS = {(0.0, np.inf): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1", (0.0, 1.0): "RELU_0_TO_1"}


def _source(lowering: Lowering, node: ir.Node) -> tuple[Tensor, Permutation]:
    carry_shuffle(lowering, node)
    label = lowering.label(node.inputs[0])
    return lowering.tensor(node.inputs[0], label), label


def _int8_clamp(lowering: Lowering, node: ir.Node) -> bool:
    return clamp_range(node) in ((0.0, np.inf), (0.0, 6.0), (-1.0, 1.0))


@lowers("Relu", "Clip", int8=_int8_clamp, wants=Wants.ANY)
def clamp(lowering: Lowering, node: ir.Node) -> None:
    """RELU, RELU6, RELU_N1_TO_1, RELU_0_TO_1, or MAXIMUM and MINIMUM for other bounds."""
    source, label = _source(lowering, node)
    result = Result(node.outputs[0], label)
    bounds = clamp_range(node)
    if bounds in _CLAMPS and source.dtype != np.int32:
        lowering.finish(_CLAMPS[bounds], [source], result)
        return
    limits: list[tuple[str, Tensor]] = []
    for builtin, index in (("MAXIMUM", 1), ("MINIMUM", 2)):
        value = lowering.optional(node, index)
        if value is not None:
            limits.append((builtin, lowering.tensor(value)))
    if not limits:
        lowering.alias(node, source, label)
        return
    for builtin, limit in limits[:-1]:
        source = binary(lowering, builtin, source, limit)
    lowering.finish(limits[-1][0], [source, limits[-1][1]], result)


def _fixed_output(scale: float, zero_point: int) -> "Quantization":
    return Quantization((scale,), (zero_point,))


_LOGISTIC = _fixed_output(1 / 256, -128)
_TANH = _fixed_output(1 / 128, 0)
_LOG_SOFTMAX = _fixed_output(16 / 256, 127)


@lowers("Sigmoid", int8=always, wants=Wants.ANY)
def sigmoid(lowering: Lowering, node: ir.Node) -> None:
    """LOGISTIC; in int8 its output scale is 1/256."""
    source, label = _source(lowering, node)
    lowering.finish("LOGISTIC", [source], Result(node.outputs[0], label, _LOGISTIC))


@lowers("Tanh", int8=always, wants=Wants.ANY)
def tanh(lowering: Lowering, node: ir.Node) -> None:
    """TANH; in int8 its output scale is 1/128."""
    source, label = _source(lowering, node)
    lowering.finish("TANH", [source], Result(node.outputs[0], label, _TANH))


@lowers("Softmax", "LogSoftmax", int8=always)
def softmax(lowering: Lowering, node: ir.Node) -> None:
    """SOFTMAX or LOG_SOFTMAX over the last physical axis, to which the axis is moved; fixed int8 output scales."""
    axis = node.attributes.get_int("axis", -1) % lowering.rank(node.inputs[0])
    label = layout.with_last(lowering.label(node.inputs[0]), axis)
    source = lowering.tensor(node.inputs[0], label)
    if node.op_type == "Softmax":
        lowering.finish("SOFTMAX", [source], Result(node.outputs[0], label, _LOGISTIC), beta=1.0)
    else:
        lowering.finish("LOG_SOFTMAX", [source], Result(node.outputs[0], label, _LOG_SOFTMAX))


@lowers("LeakyRelu", int8=always, wants=Wants.ANY)
def leaky_relu(lowering: Lowering, node: ir.Node) -> None:
    """LEAKY_RELU."""
    source, label = _source(lowering, node)
    alpha = node.attributes.get_float("alpha", 0.01)
    lowering.finish("LEAKY_RELU", [source], Result(node.outputs[0], label), alpha=alpha)


def _constant_slope(lowering: Lowering, node: ir.Node) -> bool:
    return lowering.is_constant(node.inputs[1])


@lowers("PRelu", int8=_constant_slope, wants=Wants.ANY)
def prelu(lowering: Lowering, node: ir.Node) -> None:
    """PRELU with its slope broadcast in the input's layout; LEAKY_RELU when the slope is one number."""
    slope = lowering.constant(node.inputs[1])
    label = common_label(lowering, node.inputs[:1])
    source = lowering.tensor(node.inputs[0], label)
    result = Result(node.outputs[0], label)
    if slope is not None and slope.size == 1:
        lowering.finish("LEAKY_RELU", [source], result, alpha=float(slope.ravel()[0]))
        return
    alpha = operand(lowering, node.inputs[1], label)
    missing = len(source.shape) - 1 - len(alpha.shape)
    if missing > 0:
        alpha = lowering.reshape(alpha, (1,) * missing + alpha.shape)
    lowering.finish("PRELU", [source, alpha], result)


@lowers("HardSwish", int8=always, wants=Wants.ANY)
def hard_swish(lowering: Lowering, node: ir.Node) -> None:
    """HARD_SWISH; in int8, where XNNPACK lacks it, x (x / 6 + 1/2) with the bracket clamped to [0, 1] by its scale."""
    source, label = _source(lowering, node)
    result = Result(node.outputs[0], label)
    own = source.quantization
    if own is None:
        lowering.finish("HARD_SWISH", [source], result)
        return
    sixth = Tensor("sixth", source.shape, source.dtype, Quantization((own.scale[0] / 6,), own.zero_point))
    scaled = lowering.emit("MUL", [source, _code_127(1 / 6)], source.shape, like=sixth)
    unit = Tensor("unit", source.shape, source.dtype, Quantization((1 / 255,), (-128,)))
    gate = lowering.emit("ADD", [scaled, _code_127(1 / 2)], source.shape, like=unit)
    lowering.finish("MUL", [source, gate], result)


def _code_127(number: float) -> Tensor:
    """A positive int8 scalar without rounding error."""
    return Tensor("scalar", (), np.dtype(np.int8), Quantization((number / 127,), (0,)), np.array(127, np.int8))


@lowers("Gelu", int8=always, wants=Wants.ANY)
def gelu(lowering: Lowering, node: ir.Node) -> None:
    """GELU, exact or by tanh."""
    source, label = _source(lowering, node)
    approximate = node.attributes.get_string("approximate", "none") == "tanh"
    lowering.finish("GELU", [source], Result(node.outputs[0], label), approximate=approximate)


@lowers("HardSigmoid", wants=Wants.ANY)
def hard_sigmoid(lowering: Lowering, node: ir.Node) -> None:
    """relu6(6 alpha x + 6 beta) / 6: one ADD and one MUL for alpha = 1/6."""
    source, label = _source(lowering, node)
    alpha = 6 * node.attributes.get_float("alpha", 0.2)
    beta = 6 * node.attributes.get_float("beta", 0.5)
    if not math.isclose(alpha, 1, rel_tol=1e-6):
        source = binary(lowering, "MUL", source, alpha)
    clamped = binary(lowering, "ADD", source, beta, "RELU6")
    lowering.finish("MUL", [clamped, scalar(1 / 6, clamped)], Result(node.outputs[0], label))


@lowers("Elu", "Celu", wants=Wants.ANY)
def elu(lowering: Lowering, node: ir.Node) -> None:
    """ELU; Celu is alpha elu(x / alpha), Elu with another alpha is relu(x) + alpha elu(min(x, 0))."""
    source, label = _source(lowering, node)
    result = Result(node.outputs[0], label)
    alpha = node.attributes.get_float("alpha", 1.0)
    if alpha == 1:
        lowering.finish("ELU", [source], result)
    elif node.op_type == "Celu":
        scaled = unary(lowering, "ELU", binary(lowering, "MUL", source, 1 / alpha))
        lowering.finish("MUL", [scaled, scalar(alpha, source)], result)
    else:
        lowering.finish("ADD", _elu_parts(lowering, source, alpha), result)


def _elu_parts(lowering: Lowering, source: Tensor, alpha: float) -> list[Tensor]:
    negative = unary(lowering, "ELU", binary(lowering, "MINIMUM", source, 0.0))
    return [unary(lowering, "RELU", source), binary(lowering, "MUL", negative, alpha)]


@lowers("Selu", wants=Wants.ANY)
def selu(lowering: Lowering, node: ir.Node) -> None:
    """gamma (relu(x) + alpha elu(min(x, 0)))."""
    source, label = _source(lowering, node)
    alpha = node.attributes.get_float("alpha", 1.6732632423543772)
    gamma = node.attributes.get_float("gamma", 1.0507009873554805)
    positive, negative = _elu_parts(lowering, source, alpha)
    total = binary(lowering, "ADD", positive, negative)
    lowering.finish("MUL", [total, scalar(gamma, total)], Result(node.outputs[0], label))


@lowers("ThresholdedRelu", wants=Wants.ANY)
def thresholded_relu(lowering: Lowering, node: ir.Node) -> None:
    """x where x > alpha, else 0."""
    source, label = _source(lowering, node)
    alpha = node.attributes.get_float("alpha", 1.0)
    above = lowering.emit("GREATER", [source, scalar(alpha, source)], source.shape, dtype=np.bool_)
    lowering.finish("SELECT_V2", [above, source, scalar(0.0, source)], Result(node.outputs[0], label))


def softplus_of(lowering: Lowering, source: Tensor) -> Tensor:
    """relu(x) + log(1 + exp(-|x|)), which overflows nowhere."""
    decayed = unary(lowering, "EXP", unary(lowering, "NEG", unary(lowering, "ABS", source)))
    tail = unary(lowering, "LOG", binary(lowering, "ADD", decayed, 1.0))
    return binary(lowering, "ADD", unary(lowering, "RELU", source), tail)


@lowers("Softplus", wants=Wants.ANY)
def softplus(lowering: Lowering, node: ir.Node) -> None:
    """See ``softplus_of``."""
    source, label = _source(lowering, node)
    lowering.alias(node, softplus_of(lowering, source), label)


@lowers("Softsign", wants=Wants.ANY)
def softsign(lowering: Lowering, node: ir.Node) -> None:
    """x / (1 + |x|)."""
    source, label = _source(lowering, node)
    divisor = binary(lowering, "ADD", unary(lowering, "ABS", source), 1.0)
    lowering.finish("DIV", [source, divisor], Result(node.outputs[0], label))


@lowers("Mish", wants=Wants.ANY)
def mish(lowering: Lowering, node: ir.Node) -> None:
    """x tanh(softplus(x))."""
    source, label = _source(lowering, node)
    gate = unary(lowering, "TANH", softplus_of(lowering, source))
    lowering.finish("MUL", [source, gate], Result(node.outputs[0], label))


_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_ERF_P = 0.3275911


@lowers("Erf", wants=Wants.ANY)
def erf(lowering: Lowering, node: ir.Node) -> None:
    """Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: absolute error below 1.5e-7."""
    source, label = _source(lowering, node)
    magnitude = unary(lowering, "ABS", source)
    t = binary(lowering, "ADD", binary(lowering, "MUL", magnitude, _ERF_P), 1.0)
    t = lowering.emit("DIV", [scalar(1.0, t), t], t.shape)
    total = binary(lowering, "MUL", t, _ERF[-1])
    for coefficient in reversed(_ERF[:-1]):
        total = binary(lowering, "MUL", binary(lowering, "ADD", total, coefficient), t)
    decay = unary(lowering, "EXP", unary(lowering, "NEG", binary(lowering, "MUL", magnitude, magnitude)))
    product = binary(lowering, "MUL", total, decay)
    rest = lowering.emit("SUB", [scalar(1.0, product), product], product.shape)
    lowering.finish("MUL", [unary(lowering, "SIGN", source), rest], Result(node.outputs[0], label))
