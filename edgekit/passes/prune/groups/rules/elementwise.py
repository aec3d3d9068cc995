"""Operators that compute element by element, of one input or of several."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgekit.graph.queries import constant_scalar, constant_value, input_of, is_constant, is_op
from edgekit.passes.prune.groups.combining import Operand, ZeroRule, combine
from edgekit.passes.prune.groups.rules.registry import rule
from edgekit.passes.prune.groups.tracking import Flags, Tracker, described, dims


@rule(
    "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu", "HardSwish", "Mish", "ThresholdedRelu", "Swish",
    "Tanh", "Softsign", "Erf", "Sin", "Tan", "Asin", "Atan", "Sinh", "Asinh", "Atanh",
    "Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Sqrt", "Identity", "Dropout", "Cast", "CastLike",
)  # fmt: skip
def through(tracker: Tracker, node: ir.Node) -> None:
    """f(0) = 0: every channel is computed from its own; a removed one stays exactly zero."""
    source = node.inputs[0]
    assert source is not None
    for output in node.outputs:
        tracker.set(output, tracker.of(source))


@rule(
    "Sigmoid", "HardSigmoid", "Softplus", "Exp", "Cos", "Cosh", "Acos", "Acosh", "Not", "IsNaN", "IsInf", "BitwiseNot"
)
def away_from_zero(tracker: Tracker, node: ir.Node) -> None:
    """f(0) is another number: right where weights follow, which no longer read the channel."""
    source = node.inputs[0]
    assert source is not None
    tracker.set(node.outputs[0], (block.with_zero(False) for block in tracker.of(source)))


@rule("Log", "Reciprocal")
def not_of_zero(tracker: Tracker, node: ir.Node) -> None:
    """f(0) is infinite, so what would be exactly zero stays."""
    source = node.inputs[0]
    assert source is not None
    _pin_zeros(tracker, node, source)
    tracker.set(node.outputs[0], (block.with_zero(False) for block in tracker.of(source)))


@rule("Clip")
def clip(tracker: Tracker, node: ir.Node) -> None:
    """Zero stays zero when the bounds are on both sides of it."""
    low, high = constant_scalar(input_of(node, 1)), constant_scalar(input_of(node, 2))
    around = (input_of(node, 1) is None or (low is not None and low <= 0)) and (
        input_of(node, 2) is None or (high is not None and high >= 0)
    )
    source = node.inputs[0]
    assert source is not None
    tracker.set(node.outputs[0], (block.with_zero(block.zero & around) for block in tracker.of(source)))


def all_zero(zeros: Sequence[Flags]) -> Flags:
    """A sum, a mean, a maximum."""
    return np.asarray(np.logical_and.reduce(zeros))


def any_zero(zeros: Sequence[Flags]) -> Flags:
    """A product."""
    return np.asarray(np.logical_or.reduce(zeros))


def first_zero(zeros: Sequence[Flags]) -> Flags:
    """A quotient."""
    return zeros[0]


def never_zero(zeros: Sequence[Flags]) -> bool:
    """A comparison."""
    return False


def elementwise(tracker: Tracker, node: ir.Node, zero: ZeroRule) -> None:
    """The inputs' channels go together; constants follow."""
    operands = [Operand.of(tracker, value) for value in node.inputs if value is not None]
    output = node.outputs[0]
    tracker.set(output, combine(tracker, node, operands, dims(output), zero))


@rule("Add", "Sub", "Sum", "Max", "Min", "Mean")
def add(tracker: Tracker, node: ir.Node) -> None:
    """Zero where all terms are: residual sums keep the same channels in all their terms."""
    elementwise(tracker, node, all_zero)


@rule("Mul", "And", "BitwiseAnd")
def multiply(tracker: Tracker, node: ir.Node) -> None:
    """Zero where one factor is: a squeeze-excite gate goes with what it scales."""
    elementwise(tracker, node, any_zero)


@rule("Div", "Mod")
def divide(tracker: Tracker, node: ir.Node) -> None:
    """A constant divisor loses its elements, but is never set to zero; other divisors must not become zero."""
    divisor = node.inputs[1]
    assert divisor is not None
    if not is_constant(divisor):
        _pin_zeros(tracker, node, divisor)
    elementwise(tracker, node, first_zero)


@rule("Pow")
def power(tracker: Tracker, node: ir.Node) -> None:
    """0 to a positive number is 0; to any other exponent it may be infinite."""
    base, exponent = node.inputs
    assert base is not None and exponent is not None
    if _is_positive(exponent):
        elementwise(tracker, node, first_zero)
        return
    _pin_zeros(tracker, node, base)
    elementwise(tracker, node, never_zero)


@rule("PRelu")
def prelu(tracker: Tracker, node: ir.Node) -> None:
    """The slope follows its channel."""
    elementwise(tracker, node, first_zero)


@rule("Where")
def where(tracker: Tracker, node: ir.Node) -> None:
    """Zero where both choices are."""
    elementwise(tracker, node, lambda zeros: zeros[1] & zeros[2])


@rule("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Or", "Xor", "BitwiseOr", "BitwiseXor", "BitShift")
def compare(tracker: Tracker, node: ir.Node) -> None:
    """What a comparison of removed channels gives is nobody's concern."""
    elementwise(tracker, node, never_zero)


def never_set_to_zero(node: ir.Node) -> str | None:
    """The name of the constant that this node divides by or takes as a positive exponent."""
    second = input_of(node, 1)
    divides = is_op(node, "Div", "Mod") and is_constant(second)
    raises = is_op(node, "Pow") and _is_positive(second)
    return second.name if second is not None and (divides or raises) else None


def _is_positive(exponent: ir.Value | None) -> bool:
    number = constant_value(exponent)
    return number is not None and bool((number > 0).all())


def _pin_zeros(tracker: Tracker, node: ir.Node, value: ir.Value) -> None:
    for block in tracker.of(value):
        tracker.atoms.pin(block.labels[block.zero], f"{described(node)} would divide by zero where it is removed")
