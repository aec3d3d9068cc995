"""Resize: the builtin whose sampling positions are exactly those asked for, or an exact expression of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgekit.errors import UnsupportedError
from edgekit.exporters.tflite import layout
from edgekit.exporters.tflite.layout import Permutation
from edgekit.exporters.tflite.lowering import Lowering, Result
from edgekit.exporters.tflite.model import Array, Tensor, constant
from edgekit.exporters.tflite.ops.registry import Wants, lowers

_MODES: tuple[dict[str, bool], ...] = ({}, {"align_corners": True}, {"half_pixel_centers": True})
_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class _Axis:
    """One resized axis: sizes before and after, and the scale that the coordinates use."""

    before: int
    after: int
    scale: float

    def coordinates(self, transformation: str) -> Array:
        """Where each output position lies in the input (ONNX Resize, coordinate_transformation_mode)."""
        x = np.arange(self.after, dtype=np.float64)
        if transformation in ("half_pixel", "half_pixel_symmetric"):
            adjustment = 1.0
            if transformation == "half_pixel_symmetric":
                adjustment = self.after / (self.scale * self.before)
            return self.before / 2 * (1 - adjustment) + (x + 0.5) / self.scale - 0.5
        if transformation == "pytorch_half_pixel":
            return (x + 0.5) / self.scale - 0.5 if self.after > 1 else np.zeros(1)
        if transformation == "align_corners":
            return x * ((self.before - 1) / (self.after - 1) if self.after > 1 else 0)
        if transformation == "asymmetric":
            return x / self.scale
        raise UnsupportedError(f"coordinate_transformation_mode {transformation!r} has no TFLite form")

    def builtin(self, options: dict[str, bool]) -> Array:
        """Where TFLite's kernels sample (kernels/internal/reference/resize_bilinear.h), before rounding."""
        align = options.get("align_corners", False) and self.after > 1
        scale = (self.before - 1) / (self.after - 1) if align else self.before / self.after
        x = np.arange(self.after, dtype=np.float64)
        return (x + 0.5) * scale - 0.5 if options.get("half_pixel_centers") else x * scale


@dataclass(frozen=True, slots=True)
class _Resize:
    mode: str
    transformation: str
    rounding: str
    cubic: float
    excludes_outside: bool
    antialias: bool
    axes: tuple[_Axis, ...]


def _describe(lowering: Lowering, node: ir.Node) -> _Resize:
    attributes = node.attributes
    before, after = lowering.shape(node.inputs[0]), lowering.shape(node.outputs[0])
    scales = [b / a for a, b in zip(before, after, strict=True)]
    given = lowering.optional(node, 2)
    if given is not None and lowering.shape(given) != (0,):
        chosen = attributes.get_ints("axes", None) or range(len(before))
        for axis, scale in zip(chosen, lowering.required(node, 2).ravel().tolist(), strict=True):
            scales[axis % len(before)] = scale
    axes = tuple(_Axis(*sizes) for sizes in zip(before, after, scales, strict=True))
    return _Resize(
        attributes.get_string("mode", "nearest"),
        attributes.get_string("coordinate_transformation_mode", "half_pixel"),
        attributes.get_string("nearest_mode", "round_prefer_floor"),
        attributes.get_float("cubic_coeff_a", -0.75),
        bool(attributes.get_int("exclude_outside", 0)),
        bool(attributes.get_int("antialias", 0)),
        axes,
    )


def _int8_resize(lowering: Lowering, node: ir.Node) -> bool:
    resize = _describe(lowering, node)
    return resize.mode == "nearest" or _bilinear_options(resize) is not None


@lowers("Resize", int8=_int8_resize, wants=Wants.CHANNELS_LAST)
def resize(lowering: Lowering, node: ir.Node) -> None:
    """RESIZE_NEAREST_NEIGHBOR or RESIZE_BILINEAR where an option set of theirs samples as asked.

    Otherwise nearest is a GATHER of each axis, and linear or cubic a FULLY_CONNECTED with the interpolation matrix.
    """
    made = _describe(lowering, node)
    options = _nearest_options(made) if made.mode == "nearest" else _bilinear_options(made)
    if options is not None:
        label = layout.channels_last(4)
        source = lowering.tensor(node.inputs[0], label)
        builtin = "RESIZE_NEAREST_NEIGHBOR" if made.mode == "nearest" else "RESIZE_BILINEAR"
        size = constant("size", [axis.after for axis in made.axes[2:]])
        lowering.finish(builtin, [source, size], Result(node.outputs[0], label, source.quantization), **options)
    elif made.mode == "nearest":
        _gather_axes(lowering, node, made)
    else:
        _interpolate_axes(lowering, node, made)


def _is_image(made: _Resize) -> bool:
    return len(made.axes) == 4 and all(axis.before == axis.after and axis.scale == 1 for axis in made.axes[:2])


def _nearest_options(made: _Resize) -> dict[str, bool] | None:
    if not _is_image(made):
        return None
    for options in _MODES:
        if all(np.array_equal(_builtin_nearest(axis, options), _nearest(made, axis)) for axis in made.axes[2:]):
            return dict(options)
    return None


def _builtin_nearest(axis: _Axis, options: dict[str, bool]) -> Array:
    """The kernel's own float32 arithmetic: floor, or round half away from zero with align_corners."""
    align = options.get("align_corners", False) and axis.after > 1
    step = (
        np.float32(axis.before - 1) / np.float32(axis.after - 1)
        if align
        else np.float32(axis.before) / np.float32(axis.after)
    )
    offset = np.float32(0.5 if options.get("half_pixel_centers") else 0.0)
    positions = (np.arange(axis.after, dtype=np.float32) + offset) * step
    chosen = np.floor(positions + np.float32(0.5)) if align else np.floor(positions)
    indices: Array = np.clip(chosen.astype(np.int64), 0, axis.before - 1)
    return indices


_ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": lambda x: np.floor(x),
    "ceil": lambda x: np.ceil(x),
}


def _nearest(made: _Resize, axis: _Axis) -> Array:
    rounded = _ROUNDINGS[made.rounding](axis.coordinates(made.transformation))
    indices: Array = np.clip(rounded.astype(np.int64), 0, axis.before - 1)
    return indices


def _bilinear_options(made: _Resize) -> dict[str, bool] | None:
    if made.mode != "linear" or not _is_image(made) or made.antialias or made.excludes_outside:
        return None
    for options in _MODES:
        wanted = [np.clip(axis.coordinates(made.transformation), 0, axis.before - 1) for axis in made.axes[2:]]
        sampled = [np.clip(axis.builtin(options), 0, axis.before - 1) for axis in made.axes[2:]]
        if all(np.allclose(w, s, rtol=0, atol=_TOLERANCE) for w, s in zip(wanted, sampled, strict=True)):
            return dict(options)
    return None


def _gather_axes(lowering: Lowering, node: ir.Node, made: _Resize) -> None:
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    for axis, described in enumerate(made.axes):
        indices = _nearest(made, described)
        if np.array_equal(indices, np.arange(described.before)):
            continue
        place = label.index(axis)
        shape = (*source.shape[:place], described.after, *source.shape[place + 1 :])
        source = lowering.emit("GATHER", [source, constant("indices", indices)], shape, axis=place)
    lowering.alias(node, source, label)


def _interpolate_axes(lowering: Lowering, node: ir.Node, made: _Resize) -> None:
    if made.mode not in ("linear", "cubic"):
        raise UnsupportedError(f"mode {made.mode!r}; nearest, linear or cubic expected")
    label = lowering.label(node.inputs[0])
    source = lowering.tensor(node.inputs[0], label)
    for axis, described in enumerate(made.axes):
        matrix = _matrix(made, described)
        if described.before != described.after or not np.allclose(matrix, np.eye(described.before)):
            source, label = _multiplied(lowering, (source, label), axis, matrix)
    lowering.alias(node, source, label)


def _multiplied(
    lowering: Lowering, placed: tuple[Tensor, Permutation], axis: int, matrix: Array
) -> tuple[Tensor, Permutation]:
    source, label = placed
    wanted = layout.with_last(label, axis)
    source = lowering.transpose(source, layout.moves(label, wanted))
    weights = lowering.real("interpolation", matrix.astype(np.float32))
    bias = lowering.real("zeros", np.zeros(len(matrix), np.float32))
    shape = (*source.shape[:-1], len(matrix))
    return lowering.emit("FULLY_CONNECTED", [source, weights, bias], shape, keep_num_dims=True), wanted


def _matrix(made: _Resize, axis: _Axis) -> Array:
    """Row o holds the weights of the input positions for output o (ONNX reference implementation, interpolate_1d)."""
    positions = axis.coordinates(made.transformation)
    stretch = min(axis.scale, 1.0) if made.antialias else 1.0
    reach = (2 if made.mode == "cubic" else 1) / stretch
    matrix = np.zeros((axis.after, axis.before))
    for row, position in enumerate(positions):
        taps = np.arange(math.floor(position - reach), math.ceil(position + reach) + 1)
        weights = _kernel(made, (taps - position) * stretch)
        if made.excludes_outside:
            weights = np.where((taps >= 0) & (taps < axis.before), weights, 0)
        weights = weights / weights.sum()
        np.add.at(matrix[row], np.clip(taps, 0, axis.before - 1), weights)
    return matrix


def _kernel(made: _Resize, distance: Array) -> Array:
    x: Array = np.abs(distance)
    if made.mode == "linear":
        weights: Array = np.maximum(1 - x, 0)
        return weights
    a = made.cubic
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))
