"""Seeded random samples, for precisions that need no calibration data and users who have none."""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from edgekit.interface import TensorSpec
from edgekit.runtimes import Array


class RandomSamples:
    """``count`` samples of standard normal numbers (integers: 0 and 1, booleans: coins), the same on every pass.

    A pass gives ``batch`` of them together: what does not fill a batch is left out, but one batch there is.
    """

    labels = None

    def __init__(self, inputs: Sequence[TensorSpec], count: int, batch: int = 1) -> None:
        self.batch = batch
        self._inputs = tuple(inputs)
        self._count = max(1, count // batch)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Array]]:
        for index in range(self._count):
            yield {spec.name: _random(spec, index) for spec in self._inputs}


def random_samples(inputs: Sequence[TensorSpec], count: int, outputs: Sequence[TensorSpec] = ()) -> RandomSamples:
    """``count`` seeded random samples for ``inputs``, without labels; re-iterable, what is run at once in memory.

    With the model's ``outputs`` it is known how many samples it takes at once; without, they count as one.
    """
    return RandomSamples(inputs, count, _batch(inputs, outputs) if outputs else 1)


def _batch(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> int:
    """The length of the first axis of all of them; 1 where they differ: it is no batch then."""
    sizes = {spec.shape[0] if spec.shape else 1 for spec in (*inputs, *outputs)}
    return sizes.pop() if len(sizes) == 1 else 1


def _random(spec: TensorSpec, index: int) -> Array:
    # The name is in the seed: two inputs of one shape must not be equal.
    rng = np.random.default_rng([index, zlib.crc32(spec.name.encode())])
    dtype = np.dtype(spec.dtype)
    if np.issubdtype(dtype, np.floating):
        return rng.standard_normal(spec.shape).astype(dtype)
    return rng.integers(0, 2, spec.shape).astype(dtype)
