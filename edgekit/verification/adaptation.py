"""Between the source model's tensors and an artifact's: permutations, integer codes, dtypes."""

from collections.abc import Mapping

import numpy as np

from edgekit.exporters import ExportedInterface
from edgekit.interface import TensorSpec
from edgekit.runtimes import Array


def to_artifact(sample: Mapping[str, Array], interface: ExportedInterface) -> dict[str, Array]:
    """The feeds of an artifact for one sample of the source model: permuted, then quantized or cast."""
    return {spec.name: _encode(sample[spec.name], spec) for spec in interface.inputs}


def from_artifact(outputs: Mapping[str, Array], interface: ExportedInterface) -> dict[str, Array]:
    """An artifact's outputs as the source model would give them: dequantized and permuted back."""
    return {spec.name: _decode(outputs[spec.name], spec) for spec in interface.outputs}


def _encode(array: Array, spec: TensorSpec) -> Array:
    moved = array if spec.permutation is None else array.transpose(spec.permutation)
    dtype = np.dtype(spec.dtype)
    if spec.scale is None:
        return np.ascontiguousarray(moved, dtype).reshape(moved.shape)
    limits = np.iinfo(dtype)
    codes = np.rint(moved.astype(np.float32) / np.float32(spec.scale)) + (spec.zero_point or 0)
    return np.ascontiguousarray(np.clip(codes, limits.min, limits.max), dtype)


def _decode(array: Array, spec: TensorSpec) -> Array:
    if spec.scale is not None:
        array = (array.astype(np.float32) - np.float32(spec.zero_point or 0)) * np.float32(spec.scale)
    return array if spec.permutation is None else array.transpose(np.argsort(spec.permutation))
