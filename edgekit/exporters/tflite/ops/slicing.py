"""Slice and Pad."""

import numpy as np
import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.exporters.tflite.layout import Permutation
from edgekit.exporters.tflite.lowering import Lowering, Result
from edgekit.exporters.tflite.model import Tensor, constant
from edgekit.exporters.tflite.ops.registry import Wants, always, lowers

MAX_STRIDED_RANK = 5


@lowers("Slice", int8=always, wants=Wants.ANY)
def slice_(lowering: Lowering, node: ir.Node) -> None:
    """STRIDED_SLICE; axes with negative steps are turned by REVERSE_V2 first."""
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    if len(label) > MAX_STRIDED_RANK:
        raise UnsupportedError(f"a slice of rank {len(label)}; at most {MAX_STRIDED_RANK} expected")
    ranges = [(0, size, 1) for size in source.shape]
    reversed_axes: list[int] = []
    for axis, triple in _ranges(lowering, node):
        place = label.index(axis)
        start, stop, step = slice(*triple).indices(source.shape[place])
        if step < 0:
            reversed_axes.append(place)
            last = source.shape[place] - 1
            start, stop, step = last - start, last - stop, -step
        ranges[place] = (start, stop, step)
    for place in reversed_axes:
        source = lowering.emit("REVERSE_V2", [source, constant("axis", [place])], source.shape)
    _finish(lowering, node, source, label, ranges)


def _ranges(lowering: Lowering, node: ir.Node) -> list[tuple[int, tuple[int | None, int | None, int]]]:
    rank = lowering.rank(node.inputs[0])
    starts, stops = (lowering.required(node, index).ravel().tolist() for index in (1, 2))
    axes = list(range(len(starts)))
    if lowering.optional(node, 3) is not None:
        axes = lowering.required(node, 3).ravel().tolist()
    steps = [1] * len(starts)
    if lowering.optional(node, 4) is not None:
        steps = lowering.required(node, 4).ravel().tolist()
    low, result = -np.iinfo(np.int32).max, []
    for axis, start, stop, step in zip(axes, starts, stops, steps, strict=True):
        result.append((axis % rank, (start, None if step < 0 and stop <= low else stop, step)))
    return result


def _finish(
    lowering: Lowering, node: ir.Node, source: Tensor, label: Permutation, ranges: list[tuple[int, int, int]]
) -> None:
    if all(r == (0, size, 1) for r, size in zip(ranges, source.shape, strict=True)):
        lowering.alias(node, source, label)
        return
    if any(stop <= start for start, stop, _ in ranges):
        raise UnsupportedError("an empty slice")
    operands = [constant(name, [r[i] for r in ranges]) for i, name in enumerate(("begin", "end", "strides"))]
    lowering.finish("STRIDED_SLICE", [source, *operands], Result(node.outputs[0], label, source.quantization))


def part(lowering: Lowering, source: Tensor, axis: int, bounds: tuple[int, int]) -> Tensor:
    """``source[..., begin:end, ...]`` by STRIDED_SLICE, which XNNPACK has where it lacks GATHER and SPLIT_V."""
    ranges = [(*bounds, 1) if i == axis else (0, size, 1) for i, size in enumerate(source.shape)]
    operands = [constant(name, [r[i] for r in ranges]) for i, name in enumerate(("begin", "end", "strides"))]
    return lowering.emit("STRIDED_SLICE", [source, *operands], [stop - start for start, stop, _ in ranges])


@lowers("Pad", int8=always, wants=Wants.ANY)
def pad(lowering: Lowering, node: ir.Node) -> None:
    """PAD for zeros, PADV2 for other constants, MIRROR_PAD for reflect, GATHER for edge and wrap; SLICE crops."""
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    paddings = _paddings(lowering, node, label)
    mode = node.attributes.get_string("mode", "constant")
    if (paddings < 0).any():
        source, paddings = _cropped(lowering, source, paddings)
    result = Result(node.outputs[0], label, source.quantization)
    if not paddings.any():
        lowering.alias(node, source, label)
    elif mode == "constant":
        builtin, operands = _constant_padding(lowering, node, source, paddings)
        lowering.finish(builtin, [source, *operands], result)
    elif mode == "reflect" and len(source.shape) <= 4 and (paddings.max(axis=1) < np.array(source.shape)).all():
        lowering.finish("MIRROR_PAD", [source, constant("paddings", paddings)], result, mode="REFLECT")
    else:
        _pad_by_index(lowering, node, source, (label, paddings, mode))


def _paddings(
    lowering: Lowering, node: ir.Node, label: Permutation
) -> "np.ndarray[tuple[int, ...], np.dtype[np.int32]]":
    given = lowering.required(node, 1).ravel().tolist()
    axes = list(range(len(label)))
    if lowering.optional(node, 3) is not None:
        axes = [int(axis) % len(label) for axis in lowering.required(node, 3).ravel()]
    result = np.zeros((len(label), 2), np.int32)
    for index, axis in enumerate(axes):
        result[label.index(axis)] = given[index], given[index + len(axes)]
    return result


def _cropped(
    lowering: Lowering, source: Tensor, paddings: "np.ndarray[tuple[int, ...], np.dtype[np.int32]]"
) -> tuple[Tensor, "np.ndarray[tuple[int, ...], np.dtype[np.int32]]"]:
    begin = np.maximum(-paddings[:, 0], 0)
    size = np.array(source.shape) - begin - np.maximum(-paddings[:, 1], 0)
    source = lowering.emit("SLICE", [source, constant("begin", begin), constant("size", size)], size.tolist())
    return source, np.maximum(paddings, 0)


def _constant_padding(
    lowering: Lowering, node: ir.Node, source: Tensor, paddings: "np.ndarray[tuple[int, ...], np.dtype[np.int32]]"
) -> tuple[str, list[Tensor]]:
    fill = 0.0
    if lowering.optional(node, 2) is not None:
        fill = float(lowering.required(node, 2).ravel()[0])
    operands = [constant("paddings", paddings)]
    if fill == 0:
        return "PAD", operands
    own = source.quantization
    code = fill if own is None else np.clip(np.rint(fill / own.scale[0]) + own.zero_point[0], -128, 127)
    value = constant("pad_value", code, source.dtype)
    value.quantization = own
    return "PADV2", [*operands, value]


_NUMPY_MODES = {"edge": "edge", "wrap": "wrap", "reflect": "reflect"}


def _pad_by_index(
    lowering: Lowering,
    node: ir.Node,
    source: Tensor,
    padding: tuple[Permutation, "np.ndarray[tuple[int, ...], np.dtype[np.int32]]", str],
) -> None:
    """Gather each padded axis with the indices that numpy's padding of arange gives."""
    label, paddings, mode = padding
    if mode not in _NUMPY_MODES:
        raise UnsupportedError(f"mode {mode!r}; constant, edge, reflect or wrap expected")
    for axis, amounts in enumerate(paddings.tolist()):
        if any(amounts):
            indices = np.pad(np.arange(source.shape[axis]), amounts, mode=_NUMPY_MODES[mode])  # type: ignore[call-overload]
            shape = (*source.shape[:axis], len(indices), *source.shape[axis + 1 :])
            source = lowering.emit("GATHER", [source, constant("indices", indices)], shape, axis=axis)
    lowering.alias(node, source, label)
