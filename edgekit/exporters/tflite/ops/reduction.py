"""Reductions, arg-extrema, top-k and running sums."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.exporters.tflite import layout
from edgekit.exporters.tflite.layout import Permutation
from edgekit.exporters.tflite.lowering import Lowering, Result
from edgekit.exporters.tflite.model import Tensor, constant
from edgekit.exporters.tflite.ops.expressions import binary, reduce, unary
from edgekit.exporters.tflite.ops.registry import Wants, always, lowers

_SAME_SCALE = frozenset({"REDUCE_MAX", "REDUCE_MIN"})


def _axes(lowering: Lowering, node: ir.Node) -> tuple[int, ...]:
    rank = lowering.rank(node.inputs[0])
    given: Sequence[int] | None = node.attributes.get_ints("axes", None)
    if lowering.optional(node, 1) is not None:
        given = [int(axis) for axis in lowering.required(node, 1).ravel()]
    if not given:
        return () if node.attributes.get_int("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(sorted(axis % rank for axis in given))


def _result_label(label: Permutation, axes: Sequence[int], keep: bool) -> Permutation:
    return label if keep else layout.without(label, axes)


def _finish(lowering: Lowering, node: ir.Node, builtin: str, source: Tensor, label: Permutation) -> None:
    axes = _axes(lowering, node)
    keep = bool(node.attributes.get_int("keepdims", 1))
    physical = sorted(label.index(axis) for axis in axes)
    scale = source.quantization if builtin in _SAME_SCALE else None
    result = Result(node.outputs[0], _result_label(label, axes, keep), scale)
    lowering.finish(builtin, [source, constant("axes", physical)], result, keep_dims=keep)


def _physical(lowering: Lowering, node: ir.Node) -> tuple[Tensor, Permutation, tuple[int, ...]]:
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    return source, label, tuple(sorted(label.index(axis) for axis in _axes(lowering, node)))


_SIMPLE = {
    "ReduceMean": "MEAN",
    "ReduceSum": "SUM",
    "ReduceMax": "REDUCE_MAX",
    "ReduceMin": "REDUCE_MIN",
}


@lowers(*_SIMPLE, int8=always)
def simple(lowering: Lowering, node: ir.Node) -> None:
    """MEAN, SUM, REDUCE_MAX, REDUCE_MIN over the axes where the layout puts them."""
    source, label, axes = _physical(lowering, node)
    if axes:
        _finish(lowering, node, _SIMPLE[node.op_type], source, label)
    else:
        lowering.alias(node, source, label)


@lowers("ReduceProd")
def product(lowering: Lowering, node: ir.Node) -> None:
    """REDUCE_PROD."""
    source, label, _ = _physical(lowering, node)
    _finish(lowering, node, "REDUCE_PROD", source, label)


@lowers("ReduceL1")
def absolute_sum(lowering: Lowering, node: ir.Node) -> None:
    """SUM of ABS."""
    source, label, _ = _physical(lowering, node)
    _finish(lowering, node, "SUM", unary(lowering, "ABS", source), label)


@lowers("ReduceSumSquare")
def sum_of_squares(lowering: Lowering, node: ir.Node) -> None:
    """SUM of x * x."""
    source, label, _ = _physical(lowering, node)
    _finish(lowering, node, "SUM", binary(lowering, "MUL", source, source), label)


def _outer(lowering: Lowering, node: ir.Node, outer: str, total: Tensor, label: Permutation) -> None:
    """Finish with ``outer`` of a reduction that kept its axes."""
    keep = bool(node.attributes.get_int("keepdims", 1))
    permutation = _result_label(label, _axes(lowering, node), keep)
    lowering.finish(outer, [total], Result(node.outputs[0], permutation, through=total.shape))


@lowers("ReduceL2")
def euclidean_norm(lowering: Lowering, node: ir.Node) -> None:
    """SQRT of the SUM of x * x."""
    source, label, axes = _physical(lowering, node)
    _outer(lowering, node, "SQRT", reduce(lowering, "SUM", binary(lowering, "MUL", source, source), axes), label)


@lowers("ReduceLogSum")
def log_sum(lowering: Lowering, node: ir.Node) -> None:
    """LOG of SUM."""
    source, label, axes = _physical(lowering, node)
    _outer(lowering, node, "LOG", reduce(lowering, "SUM", source, axes), label)


@lowers("ReduceLogSumExp")
def log_sum_exp(lowering: Lowering, node: ir.Node) -> None:
    """max + log(sum(exp(x - max))), which overflows nowhere."""
    source, label, axes = _physical(lowering, node)
    largest = reduce(lowering, "REDUCE_MAX", source, axes)
    shifted = unary(lowering, "EXP", binary(lowering, "SUB", source, largest))
    total = unary(lowering, "LOG", reduce(lowering, "SUM", shifted, axes))
    keep = bool(node.attributes.get_int("keepdims", 1))
    permutation = _result_label(label, _axes(lowering, node), keep)
    lowering.finish("ADD", [total, largest], Result(node.outputs[0], permutation, through=total.shape))


@lowers("GlobalAveragePool", int8=always, wants=Wants.CHANNELS_LAST)
def global_average_pool(lowering: Lowering, node: ir.Node) -> None:
    """MEAN over the spatial axes; XNNPACK runs it in int8, which it does not for AVERAGE_POOL_2D."""
    _global(lowering, node, "MEAN")


@lowers("GlobalMaxPool", int8=always, wants=Wants.CHANNELS_LAST)
def global_max_pool(lowering: Lowering, node: ir.Node) -> None:
    """REDUCE_MAX over the spatial axes."""
    _global(lowering, node, "REDUCE_MAX")


def _global(lowering: Lowering, node: ir.Node, builtin: str) -> None:
    label = layout.channels_last(lowering.rank(node.inputs[0]))
    source = lowering.tensor(node.inputs[0], label)
    axes = constant("axes", range(1, len(label) - 1))
    scale = source.quantization if builtin in _SAME_SCALE else None
    lowering.finish(builtin, [source, axes], Result(node.outputs[0], label, scale), keep_dims=True)


@lowers("ArgMax", "ArgMin", int8=always)
def arg_extremum(lowering: Lowering, node: ir.Node) -> None:
    """ARG_MAX, ARG_MIN; the first of equals, as in ONNX with select_last_index=0."""
    if node.attributes.get_int("select_last_index", 0):
        raise UnsupportedError("select_last_index=1 has no TFLite operator")
    builtin = "ARG_MAX" if node.op_type == "ArgMax" else "ARG_MIN"
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    axis = node.attributes.get_int("axis", 0) % len(label)
    place = label.index(axis)
    keep = bool(node.attributes.get_int("keepdims", 1))
    made = (*source.shape[:place], *source.shape[place + 1 :])
    result = Result(node.outputs[0], _result_label(label, [axis], keep), through=made)
    lowering.finish(builtin, [source, constant("axis", place)], result, output_type="INT32")


@lowers("TopK")
def top_k(lowering: Lowering, node: ir.Node) -> None:
    """TOPK_V2 over the last physical axis; the smallest are the largest of -x."""
    count = int(lowering.required(node, 1).ravel()[0])
    axis = node.attributes.get_int("axis", -1) % lowering.rank(node.inputs[0])
    label = layout.with_last(lowering.label(node.inputs[0]), axis)
    source = lowering.tensor(node.inputs[0], label)
    largest = bool(node.attributes.get_int("largest", 1))
    if not largest:
        source = unary(lowering, "NEG", source)
    shape = (*source.shape[:-1], count)
    values = lowering.emit("TOPK_V2", [source, constant("k", count)], shape)
    indices = Tensor(f"{values.name}/indices", shape, np.dtype(np.int32))
    lowering.operators[-1].outputs.append(indices)
    lowering.alias(node, values if largest else unary(lowering, "NEG", values), label, 0)
    lowering.alias(node, indices, label, 1)


@lowers("CumSum")
def cumulative_sum(lowering: Lowering, node: ir.Node) -> None:
    """CUMSUM."""
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    axis = int(lowering.required(node, 1).ravel()[0]) % len(label)
    options = {name: bool(node.attributes.get_int(name, 0)) for name in ("exclusive", "reverse")}
    place = constant("axis", label.index(axis))
    lowering.finish("CUMSUM", [source, place], Result(node.outputs[0], label), **options)
