"""Seeded random samples, for precisions that need no calibration data and users who have none."""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from edgekit.interface import TensorSpec
from edgekit.runtimes import Array


class RandomSamples:
    """``count`` samples of standard normal numbers (integers: 0 and 1, booleans: coins), the same on every pass."""

    labels = None
    batch = 1

    def __init__(self, inputs: Sequence[TensorSpec], count: int) -> None:
        self._inputs = tuple(inputs)
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Array]]:
        for index in range(self._count):
            yield {spec.name: _random(spec, index) for spec in self._inputs}


def random_samples(inputs: Sequence[TensorSpec], count: int) -> RandomSamples:
    """``count`` seeded random samples for ``inputs``, without labels; re-iterable, one sample in memory at a time."""
    return RandomSamples(inputs, count)


def _random(spec: TensorSpec, index: int) -> Array:
    # The name is in the seed: two inputs of one shape must not be equal.
    rng = np.random.default_rng([index, zlib.crc32(spec.name.encode())])
    dtype = np.dtype(spec.dtype)
    if np.issubdtype(dtype, np.floating):
        return rng.standard_normal(spec.shape).astype(dtype)
    return rng.integers(0, 2, spec.shape).astype(dtype)
