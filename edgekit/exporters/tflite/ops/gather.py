"""Indexing: Gather, GatherND, GatherElements, ScatterND, OneHot."""

import numpy as np
import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.exporters.tflite import layout
from edgekit.exporters.tflite.layout import Permutation
from edgekit.exporters.tflite.lowering import Lowering, Result
from edgekit.exporters.tflite.model import Tensor, constant, shape_constant
from edgekit.exporters.tflite.ops.expressions import scalar
from edgekit.exporters.tflite.ops.registry import always, lowers
from edgekit.exporters.tflite.ops.slicing import MAX_STRIDED_RANK, part


def _indices(lowering: Lowering, value: ir.Value | None, size: int) -> Tensor:
    """``value`` with negative indices counted from the end, in the source layout."""
    array = lowering.constant(value)
    if array is not None:
        return constant("indices", np.where(array < 0, array + size, array))
    tensor = lowering.tensor(value)
    return lowering.emit("FLOOR_MOD", [tensor, scalar(size, tensor)], tensor.shape)


@lowers("Gather", int8=always)
def gather(lowering: Lowering, node: ir.Node) -> None:
    """GATHER; the dimensions of the indices stand where the gathered axis was, in any layout.

    One constant index is a STRIDED_SLICE and a RESHAPE, which XNNPACK also has for int8.
    """
    shape = lowering.shape(node.inputs[0])
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    axis = node.attributes.get_int("axis", 0) % len(shape)
    count = lowering.rank(node.inputs[1])
    indices = _indices(lowering, node.inputs[1], shape[axis])
    result = Result(node.outputs[0], _gathered(label, axis, count), source.quantization)
    place = label.index(axis)
    index = lowering.constant(node.inputs[1])
    if index is not None and index.size == 1 and source.data is None and len(shape) <= MAX_STRIDED_RANK:
        first = int(index.reshape(-1)[0]) % shape[axis]
        taken = part(lowering, source, place, (first, first + 1))
        dims = [*source.shape[:place], *index.shape, *source.shape[place + 1 :]]
        lowering.finish("RESHAPE", [taken, shape_constant(dims)], result)
        return
    lowering.finish("GATHER", [source, indices], result, axis=place, batch_dims=0)


def _gathered(label: Permutation, axis: int, count: int) -> Permutation:
    result: list[int] = []
    for own in label:
        if own == axis:
            result.extend(range(axis, axis + count))
        else:
            result.append(own if own < axis else own + count - 1)
    return tuple(result)


@lowers("GatherND")
def gather_nd(lowering: Lowering, node: ir.Node) -> None:
    """GATHER_ND."""
    if node.attributes.get_int("batch_dims", 0):
        raise UnsupportedError("batch_dims other than 0 has no TFLite operator")
    shape = lowering.shape(node.inputs[0])
    source = lowering.tensor(node.inputs[0])
    array = lowering.constant(node.inputs[1])
    if array is not None:
        limits = np.array(shape[: array.shape[-1]])
        indices = constant("indices", np.where(array < 0, array + limits, array))
    else:
        indices = lowering.tensor(node.inputs[1])
    label = layout.identity(lowering.rank(node.outputs[0]))
    lowering.finish("GATHER_ND", [source, indices], Result(node.outputs[0], label))


@lowers("GatherElements")
def gather_elements(lowering: Lowering, node: ir.Node) -> None:
    """GATHER of the flattened input, at positions that are constant or computed as index * stride + offset."""
    shape = lowering.shape(node.inputs[0])
    source = lowering.reshape(lowering.tensor(node.inputs[0]), (int(np.prod(shape)),))
    axis = node.attributes.get_int("axis", 0) % len(shape)
    wanted = lowering.shape(node.inputs[1])
    strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
    grid = np.indices(wanted)
    offsets = sum((grid[i] * strides[i] for i in range(len(shape)) if i != axis), np.zeros(wanted, np.int64))
    indices = _indices(lowering, node.inputs[1], shape[axis])
    if indices.data is not None:
        flat = constant("indices", indices.data * strides[axis] + offsets)
    else:
        scaled = lowering.emit("MUL", [indices, scalar(strides[axis], indices)], wanted)
        flat = lowering.emit("ADD", [scaled, constant("offsets", offsets)], wanted)
    result = Result(node.outputs[0], layout.identity(len(wanted)))
    lowering.finish("GATHER", [source, flat], result, axis=0, batch_dims=0)


@lowers("ScatterND")
def scatter_nd(lowering: Lowering, node: ir.Node) -> None:
    """SELECT_V2 between the data and SCATTER_ND of the updates, by a mask; indices must be constant and unique."""
    if node.attributes.get_string("reduction", "none") != "none":
        raise UnsupportedError("reductions have no TFLite operator")
    shape = lowering.shape(node.inputs[0])
    array = lowering.required(node, 1)
    array = np.where(array < 0, array + np.array(shape[: array.shape[-1]]), array)
    flat = array.reshape(-1, array.shape[-1])
    if len(np.unique(flat, axis=0)) != len(flat):
        raise UnsupportedError("indices that repeat have no defined order")
    source = lowering.tensor(node.inputs[0])
    updates = lowering.tensor(node.inputs[2])
    scattered = lowering.emit(
        "SCATTER_ND", [constant("indices", array), updates, shape_constant(shape)], shape, like=updates
    )
    mask = np.zeros(shape, np.bool_)
    mask[tuple(flat.T)] = True
    operands = [constant("mask", mask, np.bool_), scattered, source]
    lowering.finish("SELECT_V2", operands, Result(node.outputs[0], layout.identity(len(shape))))


@lowers("OneHot")
def one_hot(lowering: Lowering, node: ir.Node) -> None:
    """ONE_HOT; negative indices count from the end."""
    depth = int(lowering.required(node, 1).ravel()[0])
    value = node.inputs[2]
    assert value is not None
    off, on = lowering.required(node, 2).ravel()
    dtype = lowering.dtype(node.outputs[0])
    indices = _indices(lowering, node.inputs[0], depth)
    operands = [indices, constant("depth", depth), constant("on", on, dtype), constant("off", off, dtype)]
    rank = lowering.rank(node.outputs[0])
    axis = node.attributes.get_int("axis", -1) % rank
    lowering.finish("ONE_HOT", operands, Result(node.outputs[0], layout.identity(rank)), axis=axis)
