"""Resize in the few forms that MNN computes like onnxruntime."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.exporters.mnn.editor import GraphEditor, constant_array, static_shape
from edgekit.exporters.mnn.strip import FloatGraph

_DEFAULTS = {
    "mode": "nearest",
    "coordinate_transformation_mode": "half_pixel",
    "nearest_mode": "round_prefer_floor",
}
# The pairs of (coordinate_transformation_mode, nearest_mode) that MNN computes right for every size tried.
_NATIVE_NEAREST = (
    ("asymmetric", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("align_corners", "round_prefer_floor"),
)

Indices = list[list[int]]


def resize(editor: GraphEditor, stripped: FloatGraph, node: ir.Node) -> None:
    """Attributes and axes spelled out; nearest modes that MNN rounds wrongly become one that it does not, or Gathers.

    Given:  x[N,C,H,W] -> Resize(nearest, ceil) -> y
    Result: x -> Gather(axis 2, constant rows) -> Gather(axis 3, constant columns) -> y
    """
    source = node.inputs[0]
    if source is None:
        return
    for name, default in _DEFAULTS.items():
        # MNN takes a missing attribute for something else than ONNX does.
        node.attributes.setdefault(name, ir.AttrString(name, default))
    _spell_axes(editor, node, len(static_shape(source)))
    if node.attributes.get_string("mode", "") != "nearest":
        return
    wanted = _indices(node, *_nearest_mode(node))
    for transformation, rounding in _NATIVE_NEAREST:
        if _indices(node, transformation, rounding) == wanted:
            node.attributes["coordinate_transformation_mode"] = ir.AttrString(
                "coordinate_transformation_mode", transformation
            )
            node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", rounding)
            return
    _gather(editor, stripped, node, wanted)


def _spell_axes(editor: GraphEditor, node: ir.Node, rank: int) -> None:
    axes = node.attributes.get_ints("axes", [])
    node.attributes.pop("axes", None)
    if not axes:
        return
    for index, neutral in ((2, 1.0), (3, 0)):
        given = constant_array(node.inputs[index]) if len(node.inputs) > index else None
        if given is not None and given.size:
            source = node.inputs[0]
            assert source is not None
            full = np.array(static_shape(source) if index == 3 else [neutral] * rank, given.dtype)
            full[[axis % rank for axis in axes]] = given
            node.replace_input_with(index, editor.constant(full, f"{node.outputs[0].name}_size"))


def _nearest_mode(node: ir.Node) -> tuple[str, str]:
    attributes = node.attributes
    return attributes.get_string("coordinate_transformation_mode", ""), attributes.get_string("nearest_mode", "")


def _indices(node: ir.Node, transformation: str, rounding: str) -> Indices:
    """What each axis of the output takes from the input."""
    source = node.inputs[0]
    assert source is not None
    sizes, new_sizes = static_shape(source), static_shape(node.outputs[0])
    given = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    scales: Sequence[float] = [new / old for old, new in zip(sizes, new_sizes, strict=True)]
    if given is not None and given.size:
        scales = [float(scale) for scale in given]
    axes = zip(sizes, new_sizes, scales, strict=True)
    return [_nearest(transformation, rounding, *axis) for axis in axes]


def _nearest(transformation: str, rounding: str, size: int, new_size: int, factor: float) -> list[int]:
    # Source: https://onnx.ai/onnx/operators/onnx__Resize.html; in float32, as onnxruntime rounds.
    scale = np.float32(factor)
    position: NDArray[np.floating] = np.arange(new_size, dtype=np.float32)
    match transformation:
        case "align_corners":
            position = position * (size - 1) / max(new_size - 1, 1)
        case "asymmetric":
            position = position / scale
        case "pytorch_half_pixel":
            position = (position + 0.5) / scale - 0.5 if new_size > 1 else position * 0
        case "half_pixel_symmetric":
            adjustment = new_size / (scale * size)
            position = size / 2 * (1 - adjustment) + (position + 0.5) / scale - 0.5
        case _:
            position = (position + 0.5) / scale - 0.5
    match rounding:
        case "floor":
            rounded = np.floor(position)
        case "ceil":
            rounded = np.ceil(position)
        case "round_prefer_ceil":
            rounded = np.floor(position + 0.5)
        case _:
            rounded = np.ceil(position - 0.5)
    return [int(index) for index in np.clip(rounded, 0, size - 1)]


def _gather(editor: GraphEditor, stripped: FloatGraph, node: ir.Node, indices: Indices) -> None:
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    value = source
    for axis, rows in enumerate(indices):
        shape = list(static_shape(value))
        if rows == list(range(shape[axis])):
            continue
        constant = editor.integers(rows, f"{output.name}_indices_{axis}")
        shape[axis] = len(rows)
        name = f"{output.name}_gathered_{axis}"
        value = editor.node(node, "Gather", [value, constant], {"axis": axis}, shape=shape, name=name)
        stripped.inherit(value, source)
    if value is not source:
        editor.replace(output, value)
