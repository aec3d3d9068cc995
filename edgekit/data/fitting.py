"""Fit one array of a sample to one input of a model: its shape, its type, finite values; or say what is wrong."""

from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.interface import TensorSpec


def fit(values: NDArray[Any], spec: TensorSpec, where: str) -> NDArray[Any]:
    """``values`` in the input's own type, with one sample's shape: ``spec.shape`` or ``spec.shape`` without its batch.

    ``where`` names the sample in errors. Raises DataError for another shape, for NaN and infinity, and for values that
    the input's type cannot hold.
    """
    check_shape(values.shape, spec, where)
    return _cast(values, np.dtype(spec.dtype), where)


def check_shape(shape: tuple[int, ...], spec: TensorSpec, where: str) -> None:
    """Raise DataError for a sample's shape that the input does not take."""
    if shape not in (spec.shape, spec.shape[1:]):
        raise DataError(f'{where}: has shape {shape}; input "{spec.name}" wants {spec.shape}{_hint(shape, spec)}')


def has_batch(values: NDArray[Any], spec: TensorSpec) -> bool:
    """Whether a sample of an accepted shape has the model's batch axis already."""
    return values.ndim == len(spec.shape)


def _hint(got: tuple[int, ...], spec: TensorSpec) -> str:
    """What the user may have meant."""
    wanted = spec.shape[1:]
    sample = got[1:] if len(got) == len(spec.shape) and got[:1] == (1,) else got
    if len(sample) == len(wanted) == 3 and sample != wanted:
        for order in permutations(range(3)):
            if tuple(sample[axis] for axis in order) == wanted:
                axes = ", ".join(str(axis + 1) for axis in order)
                return f" per sample; the axes look swapped (channels first or last?): array.transpose(0, {axes})"
    if len(got) == len(spec.shape) and got[1:] == wanted:
        return f"; it looks like a batch of {got[0]}: give one sample at a time"
    if tuple(size for size in got if size > 1) == tuple(size for size in wanted if size > 1):
        return f" per sample without the batch: {wanted}; use array.reshape"
    return f", or {wanted} without the batch"


def _cast(values: NDArray[Any], dtype: np.dtype[Any], where: str) -> NDArray[Any]:
    if values.dtype.kind not in "biuf":
        raise DataError(f"{where}: has values of type {values.dtype}; expected numbers")
    _check_finite(values, where)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            cast = values.astype(dtype)
        if values.dtype.itemsize > dtype.itemsize or values.dtype.kind != "f":
            _check_overflow(cast, dtype, where)
        return cast
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        raise DataError(f"{where}: has fractions; the model's input is {dtype} and wants whole numbers")
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if values.size and (values.min() < low or values.max() > high):
        raise DataError(f"{where}: has values from {values.min()} to {values.max()}; {dtype} holds {low} to {high}")
    return values.astype(dtype)


def _check_finite(values: NDArray[Any], where: str) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        what = "NaN" if np.isnan(values).any() else "infinity"
        raise DataError(f"{where}: has {what}, which would spoil every scale; remove the sample or mend what made it")


def _check_overflow(cast: NDArray[Any], dtype: np.dtype[Any], where: str) -> None:
    if not np.isfinite(cast).all():
        raise DataError(f"{where}: has values too large for the model's {dtype}")
