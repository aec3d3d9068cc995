"""Resize by nearest neighbours or by linear interpolation: along each axis by itself."""

import numpy as np
from numpy.typing import NDArray

from edgekit.passes.recover.activation import Activation
from edgekit.passes.recover.ops.registry import Operation, computes

Positions = NDArray[np.float64]


@computes("Resize")
def resize(op: Operation) -> Activation:
    """A gather of each axis, or its product with the interpolation matrix."""
    source, mode = op.operand(), op.attribute("mode")
    if mode not in ("nearest", "linear") or op.attribute("antialias") or op.attribute("exclude_outside"):
        raise op.unsupported(f"mode {mode!r} (antialias, exclude_outside); expected plain nearest or linear")
    x = source.plain
    for axis, (before, after) in enumerate(zip(source.shape, op.shape(), strict=True)):
        positions = _positions(op, axis, before, after)
        if mode == "nearest":
            chosen = np.clip(_rounded(op, positions), 0, before - 1)
            if not np.array_equal(chosen, np.arange(before)):
                x = op.tf.gather(x, chosen, axis=axis + 1)
        else:
            matrix = _matrix(positions, before)
            if matrix.shape[0] != before or not np.array_equal(matrix, np.eye(before, dtype=np.float32)):
                moved = op.tf.tensordot(x, matrix, [[axis + 1], [1]])
                last = len(source.shape)
                x = op.tf.transpose(moved, [*range(axis + 1), last, *range(axis + 1, last)])
    return op.plain(x)


def _scale(op: Operation, axis: int, before: int, after: int) -> float:
    scales = op.constant(2) if op.given(2) else None
    if scales is None or not scales.size:
        return after / before
    axes = op.attribute("axes")
    chosen = list(range(len(op.shape()))) if axes is None else [op.axis(each) for each in axes]
    return float(scales[chosen.index(axis)]) if axis in chosen else 1.0


def _positions(op: Operation, axis: int, before: int, after: int) -> Positions:
    """Where each output lies in the input (ONNX Resize, coordinate_transformation_mode)."""
    mode, scale = op.attribute("coordinate_transformation_mode"), _scale(op, axis, before, after)
    x = np.arange(after, dtype=np.float64)
    if mode in ("half_pixel", "half_pixel_symmetric"):
        adjustment = after / (scale * before) if mode == "half_pixel_symmetric" else 1.0
        return np.asarray(before / 2 * (1 - adjustment) + (x + 0.5) / scale - 0.5)
    if mode == "pytorch_half_pixel":
        return np.asarray((x + 0.5) / scale - 0.5 if after > 1 else np.zeros(1))
    if mode == "align_corners":
        return np.asarray(x * ((before - 1) / (after - 1) if after > 1 else 0))
    if mode == "asymmetric":
        return np.asarray(x / scale)
    raise op.unsupported(f"coordinate_transformation_mode {mode!r}; expected half_pixel, align_corners or asymmetric")


def _rounded(op: Operation, positions: Positions) -> NDArray[np.int64]:
    mode = op.attribute("nearest_mode")
    rounded = {
        "round_prefer_floor": np.ceil(positions - 0.5),
        "round_prefer_ceil": np.floor(positions + 0.5),
        "floor": np.floor(positions),
        "ceil": np.ceil(positions),
    }[mode]
    return rounded.astype(np.int64)


def _matrix(positions: Positions, before: int) -> NDArray[np.float32]:
    """[after, before]: the weights of the two inputs around each position."""
    lower = np.floor(positions).astype(np.int64)
    upper_weight = positions - lower
    matrix = np.zeros((len(positions), before))
    rows = np.arange(len(positions))
    np.add.at(matrix, (rows, np.clip(lower, 0, before - 1)), 1 - upper_weight)
    np.add.at(matrix, (rows, np.clip(lower + 1, 0, before - 1)), upper_weight)
    return matrix.astype(np.float32)
