"""Elementwise operators of two or more operands, with numpy broadcasting across layouts."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.exporters.tflite import layout
from edgekit.exporters.tflite.layout import Permutation, Shape
from edgekit.exporters.tflite.lowering import Lowering, Result
from edgekit.exporters.tflite.model import Quantization, Tensor, shape_constant
from edgekit.exporters.tflite.ops.expressions import binary, scalar
from edgekit.exporters.tflite.ops.registry import Wants, always, lowers
from edgekit.exporters.tflite.quantization import per_tensor_range, quantized

_BROADCAST_RANK = 4
"""All binary kernels broadcast up to this rank; beyond it only operands of one shape are safe."""


def common_label(lowering: Lowering, values: Sequence[ir.Value | None]) -> Permutation:
    """The layout for an elementwise operator: that of its largest computed operand, preferring one that is permuted."""
    rank = max(lowering.rank(value) for value in values)
    computed = [value for value in values if value is not None and not lowering.is_constant(value)]
    labels = [layout.broadcast(lowering.label(value), rank) for value in computed]
    sizes = [int(np.prod(lowering.shape(value), dtype=np.int64)) for value in computed]
    if not labels:
        return layout.identity(rank)
    keys = [(size, label != layout.identity(rank)) for size, label in zip(sizes, labels, strict=True)]
    return labels[keys.index(max(keys))]


def operand(
    lowering: Lowering, value: ir.Value | None, label: Permutation, scale: Quantization | None = None
) -> Tensor:
    """``value`` broadcastable in layout ``label``: constants are permuted here, leading ones are left to the kernel.

    ``scale`` is the quantization that a kernel demands of all its operands.
    """
    array = lowering.constant(value)
    rank, own = len(label), lowering.rank(value)
    if array is not None and value is not None:
        full = array.reshape((1,) * (rank - own) + array.shape).transpose(label)
        full = full.reshape(()) if full.size == 1 else full.reshape(_stripped(full.shape))
        return lowering.activation_constant(value, full, scale)
    restricted = tuple(axis - (rank - own) for axis in label if axis >= rank - own)
    tensor = lowering.requantize(lowering.tensor(value, restricted), scale)
    wanted = layout.permuted((1,) * (rank - own) + lowering.shape(value), label)
    return tensor if _stripped(wanted) == _stripped(tensor.shape) else lowering.reshape(tensor, wanted)


def _stripped(shape: Shape) -> Shape:
    first = next((axis for axis, size in enumerate(shape) if size != 1), len(shape))
    return shape[first:]


def finish_binary(lowering: Lowering, builtin: str, operands: Sequence[Tensor], result: Result) -> None:
    """Append an elementwise operator; broadcasts of more than four dimensions are collapsed or spelled out."""
    output = layout.permuted(lowering.shape(result.value), result.permutation)
    shapes = [(1,) * (len(output) - len(t.shape)) + t.shape for t in operands]
    through: Shape | None = None
    if len(output) > _BROADCAST_RANK and any(shape != output for shape in shapes):
        collapsed = _collapsed([*shapes, output])
        through = collapsed.pop()
        operands = [lowering.reshape(t, shape) for t, shape in zip(operands, collapsed, strict=True)]
        if len(through) > _BROADCAST_RANK:
            operands = [_spread(lowering, tensor, through) for tensor in operands]
    lowering.finish(builtin, operands, Result(result.value, result.permutation, result.scale, through))


def _collapsed(shapes: list[Shape]) -> list[Shape]:
    """Merge neighbouring dimensions that broadcast alike in every shape; the last shape is the result's."""
    merged: list[list[int]] = [[] for _ in shapes]
    pattern: tuple[bool, ...] | None = None
    for sizes in zip(*shapes, strict=True):
        if sizes[-1] == 1:
            continue
        current = tuple(size == 1 for size in sizes)
        for row, size in zip(merged, sizes, strict=True):
            if current == pattern:
                row[-1] *= size
            else:
                row.append(size)
        pattern = current
    return [tuple(row) for row in merged]


def _spread(lowering: Lowering, tensor: Tensor, shape: Shape) -> Tensor:
    return tensor if tensor.shape == shape else lowering.emit("BROADCAST_TO", [tensor, shape_constant(shape)], shape)


def _elementwise(lowering: Lowering, node: ir.Node, builtin: str) -> None:
    label = common_label(lowering, node.inputs)
    operands = [operand(lowering, value, label) for value in node.inputs]
    finish_binary(lowering, builtin, operands, Result(node.outputs[0], label))


@lowers("Add", "Sub", "Mul", int8=always, fuses=True, wants=Wants.ANY)
def add_sub_mul(lowering: Lowering, node: ir.Node) -> None:
    """ADD, SUB, MUL; the int8 kernels take operands of any scale."""
    _elementwise(lowering, node, node.op_type.upper())


def _constant_divisor(lowering: Lowering, node: ir.Node) -> bool:
    return lowering.is_constant(node.inputs[1])


@lowers("Div", int8=_constant_divisor, fuses=True, wants=Wants.ANY)
def divide(lowering: Lowering, node: ir.Node) -> None:
    """DIV; in int8, which DIV lacks, MUL by the reciprocal of a constant."""
    if not lowering.int8:
        _elementwise(lowering, node, "DIV")
        return
    label = common_label(lowering, node.inputs)
    source = operand(lowering, node.inputs[0], label)
    array = 1 / lowering.required(node, 1)
    codes = quantized(
        array.reshape((1,) * (len(label) - array.ndim) + array.shape).transpose(label), per_tensor_range(array)
    )
    reciprocal = Tensor(f"{node.outputs[0].name}/reciprocal", codes.data.shape, codes.data.dtype, codes.quantization)
    reciprocal.data = codes.data
    finish_binary(lowering, "MUL", [source, reciprocal], Result(node.outputs[0], label))


@lowers("Max", "Min", int8=always, wants=Wants.ANY)
def maximum_minimum(lowering: Lowering, node: ir.Node) -> None:
    """MAXIMUM, MINIMUM, chained for more than two operands; the int8 kernel wants one scale on all of them."""
    builtin = "MAXIMUM" if node.op_type == "Max" else "MINIMUM"
    label = common_label(lowering, node.inputs)
    scale = lowering.output_quantization(node, fuses=False) if lowering.int8 else None
    operands = [operand(lowering, value, label, scale) for value in node.inputs]
    _chain(lowering, node, builtin, operands, label)


def _chain(lowering: Lowering, node: ir.Node, builtin: str, operands: list[Tensor], label: Permutation) -> None:
    if len(operands) == 1:
        lowering.alias(node, operands[0], label)
        return
    total = operands[0]
    for tensor in operands[1:-1]:
        total = binary(lowering, builtin, total, tensor)
    finish_binary(lowering, builtin, [total, operands[-1]], Result(node.outputs[0], label))


def _two_operands(lowering: Lowering, node: ir.Node) -> bool:
    return len(node.inputs) == 2


@lowers("Sum", int8=_two_operands, fuses=True, wants=Wants.ANY)
def n_ary_sum(lowering: Lowering, node: ir.Node) -> None:
    """A chain of ADD."""
    label = common_label(lowering, node.inputs)
    _chain(lowering, node, "ADD", [operand(lowering, value, label) for value in node.inputs], label)


@lowers("Mean", wants=Wants.ANY)
def n_ary_mean(lowering: Lowering, node: ir.Node) -> None:
    """A chain of ADD, then MUL by one over the number of operands."""
    label = common_label(lowering, node.inputs)
    total = operand(lowering, node.inputs[0], label)
    for value in node.inputs[1:]:
        total = binary(lowering, "ADD", total, operand(lowering, value, label))
    finish_binary(lowering, "MUL", [total, scalar(1 / len(node.inputs), total)], Result(node.outputs[0], label))


@lowers("Pow", wants=Wants.ANY)
def power(lowering: Lowering, node: ir.Node) -> None:
    """MUL for squares, SQRT and RSQRT for halves, which delegates know; POW for any other exponent."""
    exponent = lowering.constant(node.inputs[1])
    known = {2.0: "SQUARE", 0.5: "SQRT", -0.5: "RSQRT"}
    number = float(exponent.ravel()[0]) if exponent is not None and exponent.size == 1 else None
    whole = lowering.shape(node.inputs[0]) == lowering.shape(node.outputs[0])
    if number in known and whole and lowering.dtype(node.outputs[0]) == np.float32:
        label = lowering.label(node.inputs[0])
        source = lowering.tensor(node.inputs[0], label)
        operands = [source, source] if number == 2.0 else [source]
        lowering.finish("MUL" if number == 2.0 else known[number], operands, Result(node.outputs[0], label))
        return
    if any(value is None or lowering.dtype(value) != np.float32 for value in (*node.inputs, *node.outputs)):
        raise UnsupportedError("a power of integers has no TFLite operator")
    _elementwise(lowering, node, "POW")


@lowers("Mod", wants=Wants.ANY)
def modulo(lowering: Lowering, node: ir.Node) -> None:
    """FLOOR_MOD, whose sign is the divisor's as in ONNX with fmod=0."""
    if node.attributes.get_int("fmod", 0):
        raise UnsupportedError("fmod=1 has no TFLite operator")
    _elementwise(lowering, node, "FLOOR_MOD")


_COMPARISONS = {
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
    "And": "LOGICAL_AND",
    "Or": "LOGICAL_OR",
}


@lowers(*_COMPARISONS, wants=Wants.ANY)
def comparison(lowering: Lowering, node: ir.Node) -> None:
    """EQUAL, GREATER, ..., LOGICAL_AND, LOGICAL_OR."""
    _elementwise(lowering, node, _COMPARISONS[node.op_type])


@lowers("Xor", wants=Wants.ANY)
def exclusive_or(lowering: Lowering, node: ir.Node) -> None:
    """NOT_EQUAL of two bools."""
    _elementwise(lowering, node, "NOT_EQUAL")


@lowers("Where", wants=Wants.ANY)
def where(lowering: Lowering, node: ir.Node) -> None:
    """SELECT_V2."""
    _elementwise(lowering, node, "SELECT_V2")


@lowers("BitwiseXor", wants=Wants.ANY)
def bitwise_xor(lowering: Lowering, node: ir.Node) -> None:
    """BITWISE_XOR."""
    _elementwise(lowering, node, "BITWISE_XOR")


@lowers("Atan", wants=Wants.ANY)
def arc_tangent(lowering: Lowering, node: ir.Node) -> None:
    """ATAN2(x, 1); the kernel does not broadcast, so the ones are a full constant."""
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    ones = lowering.real("ones", np.ones(source.shape, np.float32))
    lowering.finish("ATAN2", [source, ones], Result(node.outputs[0], label))
