"""Operators that move or copy elements without computing: reshape, transpose, concatenate, split, tile, depth/space."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.exporters.tflite import layout
from edgekit.exporters.tflite.layout import Permutation
from edgekit.exporters.tflite.lowering import Lowering, Result
from edgekit.exporters.tflite.model import Operator, Tensor, constant, shape_constant
from edgekit.exporters.tflite.ops.registry import Wants, always, lowers
from edgekit.exporters.tflite.ops.slicing import MAX_STRIDED_RANK, part
from edgekit.exporters.tflite.quantization import is_dequantize, is_quantize

_KEEPS_ORDER = frozenset(
    [
        "Abs",
        "Ceil",
        "Clip",
        "Elu",
        "Celu",
        "Selu",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Mish",
        "Neg",
        "Relu",
        "Round",
        "Sigmoid",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Tanh",
        "ThresholdedRelu",
    ]
)


@lowers("Identity", "Dropout", int8=always, wants=Wants.ANY)
def identity(lowering: Lowering, node: ir.Node) -> None:
    """Nothing."""
    label = lowering.label(node.inputs[0])
    lowering.alias(node, lowering.tensor(node.inputs[0], label), label)


@lowers("Transpose", int8=always)
def transpose(lowering: Lowering, node: ir.Node) -> None:
    """Nothing but another label."""
    label = lowering.label(node.inputs[0])
    axes = node.attributes.get_ints("perm", None) or tuple(reversed(range(len(label))))
    lowering.alias(node, lowering.tensor(node.inputs[0], label), layout.transposed(label, axes))


@lowers("Reshape", "Flatten", "Squeeze", "Unsqueeze", int8=always)
def reshape(lowering: Lowering, node: ir.Node) -> None:
    """RESHAPE of the tensor as it lies where the layout allows; see layout.plan_reshape.

    A flattened channels-last activation that only ever meets constant weights is not transposed: the weights' rows are.
    """
    before, after = lowering.shape(node.inputs[0]), lowering.shape(node.outputs[0])
    label = lowering.label(node.inputs[0])
    if 0 in before:
        raise UnsupportedError("an empty tensor")
    plan = layout.plan_reshape(before, after, label)
    source = lowering.tensor(node.inputs[0], label)
    if not layout.moves_only_units(source.shape, layout.moves(label, plan.source)):
        if (
            len(after) == 2
            and before[0] == after[0]
            and label[0] == 0
            and _only_feeds_weights(lowering, node.outputs[0])
        ):
            _flatten_shuffled(lowering, node, source, label)
            return
        source = lowering.tensor(node.inputs[0], plan.source)
    lowering.alias(node, lowering.reshape(source, plan.shape), plan.result)


def _flatten_shuffled(lowering: Lowering, node: ir.Node, source: Tensor, label: Permutation) -> None:
    shape = lowering.shape(node.inputs[0])
    order = np.arange(int(np.prod(shape[1:]))).reshape((1, *shape[1:])).transpose(label).ravel()
    lowering.shuffles[node.outputs[0]] = order
    lowering.alias(node, lowering.reshape(source, lowering.shape(node.outputs[0])), layout.identity(2))


def _only_feeds_weights(lowering: Lowering, value: ir.Value) -> bool:
    if value.is_graph_output():
        return False
    for use in value.uses():
        node = use.node
        passes = is_quantize(node) or is_dequantize(node) or node.op_type in _KEEPS_ORDER
        if passes and use.idx == 0 and _only_feeds_weights(lowering, node.outputs[0]):
            continue
        weighs = node.op_type in ("Gemm", "MatMul") and use.idx == 0 and not node.attributes.get_int("transA", 0)
        if not weighs or not lowering.is_constant(node.inputs[1]) or lowering.rank(node.inputs[1]) != 2:
            return False
    return bool(value.uses())


@lowers("Concat", int8=always, wants=Wants.ANY)
def concatenate(lowering: Lowering, node: ir.Node) -> None:
    """CONCATENATION in the layout of the biggest input; int8 inputs are brought to the output's scale first."""
    rank = lowering.rank(node.outputs[0])
    label = _biggest_label(lowering, node.inputs)
    scale = lowering.output_quantization(node, fuses=False) if lowering.int8 else None
    tensors: list[Tensor] = []
    for value in node.inputs:
        array = lowering.constant(value)
        if array is not None and value is not None:
            tensors.append(lowering.activation_constant(value, np.ascontiguousarray(array.transpose(label)), scale))
        else:
            tensors.append(lowering.requantize(lowering.tensor(value, label), scale))
    axis = label.index(node.attributes.get_int("axis", 0) % rank)
    if len(tensors) == 1:
        lowering.alias(node, tensors[0], label)
        return
    options = {"axis": axis, "fused_activation_function": "NONE"}
    lowering.finish("CONCATENATION", tensors, Result(node.outputs[0], label), **options)


def _biggest_label(lowering: Lowering, values: Sequence[ir.Value | None]) -> Permutation:
    sizes = [-1 if lowering.is_constant(v) else int(np.prod(lowering.shape(v))) for v in values]
    return lowering.label(values[sizes.index(max(sizes))])


@lowers("Split", int8=always, wants=Wants.ANY)
def split(lowering: Lowering, node: ir.Node) -> None:
    """SPLIT into equal parts, a STRIDED_SLICE (SPLIT_V above its rank) for each of others."""
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    axis = node.attributes.get_int("axis", 0) % len(label)
    place = label.index(axis)
    sizes = [lowering.shape(value)[axis] for value in node.outputs]
    if len(set(sizes)) > 1 and len(label) <= MAX_STRIDED_RANK:
        ends = np.cumsum(sizes).tolist()
        parts = [part(lowering, source, place, (end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    else:
        parts = _split(
            lowering, source, place, dict(zip((value.name or "" for value in node.outputs), sizes, strict=True))
        )
    for index, made in enumerate(parts):
        lowering.alias(node, made, label, index)


def _split(lowering: Lowering, source: Tensor, place: int, named: dict[str, int]) -> list[Tensor]:
    sizes = list(named.values())
    parts = [
        Tensor(name, (*source.shape[:place], size, *source.shape[place + 1 :]), source.dtype, source.quantization)
        for name, size in named.items()
    ]
    options, axis = {"num_splits": len(parts)}, constant("axis", place)
    if len(set(sizes)) == 1:
        lowering.operators.append(Operator("SPLIT", [axis, source], list(parts), options))
    else:
        operands: list[Tensor | None] = [source, constant("sizes", sizes), axis]
        lowering.operators.append(Operator("SPLIT_V", operands, list(parts), options))
    return parts


@lowers("Expand", int8=always)
def expand(lowering: Lowering, node: ir.Node) -> None:
    """BROADCAST_TO."""
    shape = lowering.shape(node.outputs[0])
    label = layout.broadcast(lowering.label(node.inputs[0]), len(shape))
    restricted = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], restricted)
    wanted = layout.permuted(shape, label)
    if source.size == int(np.prod(wanted)):
        lowering.alias(node, lowering.reshape(source, wanted), label)
        return
    result = Result(node.outputs[0], label, source.quantization)
    lowering.finish("BROADCAST_TO", [source, shape_constant(wanted)], result)


@lowers("Tile", int8=always)
def tile(lowering: Lowering, node: ir.Node) -> None:
    """TILE."""
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    repeats = layout.permuted([int(r) for r in lowering.required(node, 1).ravel()], label)
    result = Result(node.outputs[0], label, source.quantization)
    lowering.finish("TILE", [source, constant("multiples", repeats)], result)


@lowers("DepthToSpace", int8=always, wants=Wants.CHANNELS_LAST)
def depth_to_space(lowering: Lowering, node: ir.Node) -> None:
    """DEPTH_TO_SPACE for mode DCR, which is TFLite's order; for CRD the channels are put in that order first,
    by the convolution before if there is one."""
    label = layout.channels_last(4)
    source = lowering.tensor(node.inputs[0], label)
    block = node.attributes.get_int("blocksize")
    if node.attributes.get_string("mode", "DCR") == "CRD" and node.inputs[0] not in lowering.shuffles:
        batch, height, width, channels = source.shape
        depth = channels // block**2
        grouped = lowering.reshape(source, (batch * height * width, depth, block**2))
        source = lowering.reshape(lowering.transpose(grouped, (0, 2, 1)), source.shape)
    result = Result(node.outputs[0], label, source.quantization)
    lowering.finish("DEPTH_TO_SPACE", [source], result, block_size=block)


@lowers("SpaceToDepth", int8=always, wants=Wants.CHANNELS_LAST)
def space_to_depth(lowering: Lowering, node: ir.Node) -> None:
    """SPACE_TO_DEPTH."""
    label = layout.channels_last(4)
    source = lowering.tensor(node.inputs[0], label)
    result = Result(node.outputs[0], label, source.quantization)
    lowering.finish("SPACE_TO_DEPTH", [source], result, block_size=node.attributes.get_int("blocksize"))
