"""Seeing through products and scalar arithmetic, in whatever order an exporter wrote it."""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from edgekit.graph.queries import constant_scalar, is_constant, is_floating, produced_by

_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Line:
    """``multiplier * x + addend``, with numbers."""

    x: ir.Value
    multiplier: float
    addend: float


def lines(value: ir.Value, depth: int = _DEPTH) -> Iterator[Line]:
    """All readings of ``value`` as a line over an earlier value, the shortest first."""
    yield Line(value, 1.0, 0.0)
    step = _scalar_step(value)
    if step is None or depth == 0:
        return
    for line in lines(step.x, depth - 1):
        yield Line(line.x, line.multiplier * step.multiplier, line.addend * step.multiplier + step.addend)


def _scalar_step(value: ir.Value) -> Line | None:
    node = produced_by(value, "Mul", "Div", "Add", "Sub")
    if node is None or not is_floating(value):
        return None
    left, right = node.inputs
    if left is None or right is None or is_constant(left) == is_constant(right):
        return None
    number = constant_scalar(left if is_constant(left) else right)
    x = right if is_constant(left) else left
    if number is None or x.shape != value.shape:
        return None
    match node.op_type, x is left:
        case "Mul", _:
            return Line(x, number, 0.0)
        case "Add", _:
            return Line(x, 1.0, number)
        case "Sub", x_first:
            return Line(x, 1.0, -number) if x_first else Line(x, -1.0, number)
        case "Div", True if number != 0:
            return Line(x, 1 / number, 0.0)
    return None


@dataclass(frozen=True, slots=True)
class Product:
    """``scale * left * right`` of two values that both depend on the inputs."""

    scale: float
    left: ir.Value
    right: ir.Value


def products(node: ir.Node) -> Iterator[Product]:
    """All readings of a node's output as a scaled product, both ways round; scalar factors may stand anywhere."""
    for outer in lines(node.outputs[0], 2):
        product = produced_by(outer.x, "Mul")
        if outer.addend or product is None or any(v is None or is_constant(v) for v in product.inputs):
            continue
        left, right = product.inputs
        assert left is not None and right is not None
        for one in lines(left, 2):
            for other in lines(right, 2):
                if not one.addend and not other.addend:
                    scale = outer.multiplier * one.multiplier * other.multiplier
                    yield Product(scale, one.x, other.x)
                    yield Product(scale, other.x, one.x)


def near(number: float, expected: float) -> bool:
    """Equal but for the rounding of an exporter that wrote the constant in float32 or half precision's decimals."""
    return abs(number - expected) <= 2e-4 * max(abs(expected), 1e-3)
