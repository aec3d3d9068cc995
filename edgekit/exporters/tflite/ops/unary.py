"""Elementwise operators of one operand that are one TFLite operator each, and CAST."""

import numpy as np
import onnx_ir as ir

from edgekit.exporters.tflite.lowering import Lowering, Result
from edgekit.exporters.tflite.ops.expressions import binary, scalar, unary
from edgekit.exporters.tflite.ops.registry import Wants, lowers

_SAME = {
    "Abs": "ABS",
    "Ceil": "CEIL",
    "Cos": "COS",
    "Exp": "EXP",
    "Floor": "FLOOR",
    "Log": "LOG",
    "Neg": "NEG",
    "Not": "LOGICAL_NOT",
    "Round": "ROUND",
    "Sign": "SIGN",
    "Sin": "SIN",
    "Sqrt": "SQRT",
}


def carry_shuffle(lowering: Lowering, node: ir.Node) -> None:
    """Keep the order of a flattened activation through an elementwise operator (see shape.py)."""
    shuffle = lowering.shuffles.get(node.inputs[0]) if node.inputs[0] is not None else None
    if shuffle is not None:
        lowering.shuffles[node.outputs[0]] = shuffle


@lowers(*_SAME, wants=Wants.ANY)
def same(lowering: Lowering, node: ir.Node) -> None:
    """ABS, CEIL, COS, EXP, FLOOR, LOG, NEG, LOGICAL_NOT, ROUND (half to even in both), SIGN, SIN, SQRT."""
    carry_shuffle(lowering, node)
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    lowering.finish(_SAME[node.op_type], [source], Result(node.outputs[0], label))


@lowers("Reciprocal", wants=Wants.ANY)
def reciprocal(lowering: Lowering, node: ir.Node) -> None:
    """DIV of one by x."""
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    lowering.finish("DIV", [scalar(1.0, source), source], Result(node.outputs[0], label))


@lowers("Tan", wants=Wants.ANY)
def tangent(lowering: Lowering, node: ir.Node) -> None:
    """SIN / COS."""
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    operands = [unary(lowering, "SIN", source), unary(lowering, "COS", source)]
    lowering.finish("DIV", operands, Result(node.outputs[0], label))


@lowers("Sinh", "Cosh", wants=Wants.ANY)
def hyperbolic(lowering: Lowering, node: ir.Node) -> None:
    """(exp(x) -+ exp(-x)) / 2."""
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    grown = unary(lowering, "EXP", source)
    shrunk = unary(lowering, "EXP", unary(lowering, "NEG", source))
    total = binary(lowering, "SUB" if node.op_type == "Sinh" else "ADD", grown, shrunk)
    lowering.finish("MUL", [total, scalar(0.5, total)], Result(node.outputs[0], label))


@lowers("IsNaN", wants=Wants.ANY)
def is_nan(lowering: Lowering, node: ir.Node) -> None:
    """NOT_EQUAL of x with itself."""
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    lowering.finish("NOT_EQUAL", [source, source], Result(node.outputs[0], label))


@lowers("Cast", wants=Wants.ANY)
def cast(lowering: Lowering, node: ir.Node) -> None:
    """CAST between the types that the file carries; nothing when they are the same."""
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    target = lowering.dtype(node.outputs[0])
    if source.dtype == target:
        lowering.alias(node, source, label)
    elif target == np.bool_:
        lowering.finish("NOT_EQUAL", [source, scalar(0, source)], Result(node.outputs[0], label))
    else:
        options = {"in_data_type": source.dtype.name.upper(), "out_data_type": target.name.upper()}
        lowering.finish("CAST", [source], Result(node.outputs[0], label), **options)
