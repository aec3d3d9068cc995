"""The samples that pruning keeps in memory, and the two halves that judge each other's fits."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.errors import DataError, UsageError
from edgekit.passes.prune.network import Sample

MOST_SAMPLES = 1024
_BYTES = 512 * 2**20
"""Of samples in memory: a pass over a folder of images would decode them anew each time."""

LEAST_TO_FIT = 4
"""Two for each half. Of fewer nothing can be fitted that others could judge."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One half is fitted on, the other judges."""

    fit: Sequence[Sample]
    test: Sequence[Sample]


def gather(samples: Iterable[Sample]) -> list[Sample]:
    """As many samples, evenly spread, as memory allows. Raises DataError when there are none."""
    if isinstance(samples, Iterator):
        raise UsageError("samples is an iterator, which can be read only once; pass a list or an object with __iter__")
    first = next(iter(samples), None)
    if first is None:
        raise DataError("no samples to prune with; give at least one, or none at all (samples=None)")
    count = len(samples) if isinstance(samples, Sized) else sum(1 for _ in samples)
    size = sum(np.asarray(array).nbytes for array in first.values())
    most = max(LEAST_TO_FIT, min(MOST_SAMPLES, _BYTES // max(1, size)))
    wanted = set(_spread(count, most))
    return [_copied(sample) for index, sample in enumerate(samples) if index in wanted]


def halves(samples: Sequence[Sample], most_tests: int) -> tuple[Fold, Fold]:
    """Even and odd samples; of each at most half of ``most_tests`` judge."""
    even, odd = samples[::2], samples[1::2]
    return Fold(even, evenly(odd, most_tests // 2)), Fold(odd, evenly(even, most_tests // 2))


def evenly(samples: Sequence[Sample], most: int) -> Sequence[Sample]:
    """At most so many, spread evenly: a set sorted by class keeps its classes."""
    return samples if len(samples) <= most else [samples[index] for index in _spread(len(samples), most)]


def evenly_first(count: int, most: int) -> list[int]:
    """All indices below ``count``, those first that ``evenly`` takes."""
    first = _spread(count, most)
    return [*first, *sorted(set(range(count)) - set(first))]


def _spread(count: int, most: int) -> list[int]:
    taken = min(count, most)
    return [index * count // taken for index in range(taken)]


def _copied(sample: Sample) -> dict[str, Any]:
    return {name: np.array(array) for name, array in sample.items()}
