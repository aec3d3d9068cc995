"""Samples as a model takes them: opened once, iterated as often as needed, one in memory at a time."""

import math
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.data.arrays import open_arrays
from edgekit.data.descriptor import open_described
from edgekit.data.fitting import check_shape, fit, has_batch
from edgekit.data.images import ImageSource
from edgekit.data.iterator import IteratorSource, is_iterator_spec
from edgekit.data.labels import check_classes
from edgekit.data.preprocessing import ImageTransform
from edgekit.data.source import ONLY_INPUT, RawSample, Source, exists
from edgekit.errors import DataError, UsageError, nearest
from edgekit.interface import TensorSpec
from edgekit.profiles.calibration import Preprocessing, load_calibration_set
from edgekit.profiles.lookup import profile_paths

Sample = dict[str, NDArray[Any]]

_KINDS = "expected an .npz, an .npy, a folder of images, a .toml descriptor or module:function"

_MAX_IMAGE_VALUES = 1 << 29
"""A little above what Pillow takes for a decompression bomb, with three channels."""


class Samples:
    """A data set fitted to a model's inputs; iterating gives ``{input name: array}`` in the model's types and shapes.

    Each iteration is a new pass that gives the same samples. For a model whose batch is B, B samples make one; a rest
    that is smaller is left out. ``labels`` has one class per sample, int64 (len(samples) * B,), or is None. Iterating
    raises DataError that names the sample when it does not fit or is not finite.
    """

    def __init__(
        self, source: Source, inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None, limit: int | None
    ) -> None:
        self.path = source.path
        self._source = source
        self._arrays = _match(source, inputs)
        self._transform = self._transform_for(inputs, preprocessing)
        self._check_shapes()
        self._batch = self._batch_size()
        self._chosen = _spread(source.count, limit, self._batch, source.path)
        self.labels = None if source.labels is None else source.labels[self._chosen]

    def __len__(self) -> int:
        return len(self._chosen) // self._batch

    def __iter__(self) -> Iterator[Sample]:
        rows = zip(self._chosen.tolist(), self._source.rows(self._chosen), strict=True)
        fitted = (self._fitted(row, index) for index, row in rows)
        while group := list(islice(fitted, self._batch)):
            yield self._joined(group)

    @property
    def batch(self) -> int:
        """How many samples the model takes at once: an iteration gives so many together."""
        return self._batch

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal digest of the data: of a file its own, of a folder over all paths and contents."""
        return self._source.sha256()

    def _fitted(self, row: RawSample, index: int) -> Sample:
        """One sample in the model's types, with or without a batch axis as the data has it."""
        sample = {}
        for spec, name in self._arrays:
            where = self._source.where(name, index)
            values = self._transform(row[name], where) if self._transform else row[name]
            sample[spec.name] = fit(values, spec, where)
        return sample

    def _joined(self, group: list[Sample]) -> Sample:
        """What the model takes at once: one sample with a batch axis, or as many as the model's batch, stacked."""
        joined = {}
        for spec, _ in self._arrays:
            values = [sample[spec.name] for sample in group]
            joined[spec.name] = values[0] if has_batch(values[0], spec) else np.stack(values)
        return joined

    def _transform_for(self, inputs: Sequence[TensorSpec], wanted: Preprocessing | None) -> ImageTransform | None:
        if wanted is None:
            return None
        if len(inputs) != 1:
            raise DataError(f"{self.path}: preprocessing is for a model with one input; this one has {len(inputs)}")
        try:
            return ImageTransform(wanted, inputs[0])
        except DataError as error:
            raise DataError(f"{self.path}: {error}") from None

    def _check_shapes(self) -> None:
        """Refuse rows of a wrong shape before one of them is unpacked, which a small file can make huge."""
        for spec, name in self._arrays:
            shape = self._source.row_shapes.get(name)
            if shape is None:
                continue
            where = self._source.where(name, 0)
            if self._transform is None:
                check_shape(shape, spec, where)
            elif math.prod(shape) > _MAX_IMAGE_VALUES:
                raise DataError(f"{where}: has shape {shape}; expected an image of at most {_MAX_IMAGE_VALUES} values")

    def _batch_size(self) -> int:
        """How many samples the model takes at once: 1 when they have the batch axis. Reads the first sample."""
        first = self._fitted(next(iter(self._source.rows(np.zeros(1, np.int64)))), 0)
        without = [spec for spec, _ in self._arrays if not has_batch(first[spec.name], spec)]
        sizes = {spec.shape[0] for spec in without}
        if sizes <= {1}:
            return 1
        if len(sizes) > 1 or len(without) < len(self._arrays):
            shapes = ", ".join(f"{spec.name} {spec.shape}" for spec, _ in self._arrays)
            raise DataError(f"{self.path}: cannot group samples into the model's inputs ({shapes}); give whole batches")
        return sizes.pop()


def open_samples(
    spec: str | os.PathLike[str],
    inputs: Sequence[TensorSpec],
    *,
    limit: int | None = None,
    classes: int | None = None,
) -> Samples:
    """Open a data set for a model.

    ``spec`` is an .npz (arrays named after the model's inputs, or ``x``; labels in ``y``), an .npy, a folder of images
    or of one sub-folder per class, a .toml descriptor or its name, or ``module:function``. ``inputs`` are the model's.
    ``limit`` takes that many samples, spread evenly over the set (of an iterator: the first). ``classes``, when given,
    is what labels must stay below. The first sample is read and checked at once. Raises DataError, ProfileError,
    DependencyError, and UsageError for a ``limit`` below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"{limit} samples: expected at least 1")
    source, preprocessing = _open_source(os.fspath(spec), tuple(each.name for each in inputs), limit)
    samples = Samples(source, inputs, preprocessing, limit)
    if classes is not None and samples.labels is not None:
        check_classes(samples.labels, classes, samples.path)
    return samples


def _open_source(spec: str, inputs: tuple[str, ...], limit: int | None) -> tuple[Source, Preprocessing | None]:
    path = Path(spec)
    there = exists(path)
    if there and path.is_dir():
        return ImageSource(spec), Preprocessing()
    if path.suffix == ".toml" or (not there and spec in profile_paths("calibration")):
        described = load_calibration_set(spec)
        of_images = Preprocessing() if exists(described.source) and described.source.is_dir() else None
        return open_described(described, inputs), described.preprocessing or of_images
    if is_iterator_spec(spec) and not there:
        return IteratorSource(spec, inputs, limit), None
    if not there:
        raise DataError(f"{spec}: no such file or folder{nearest(spec, profile_paths('calibration'))}; {_KINDS}")
    if path.suffix not in (".npz", ".npy"):
        raise DataError(f"{spec}: not a data set; {_KINDS}")
    try:
        return open_arrays(spec, inputs), None
    except OSError as error:
        raise DataError(f"{spec}: cannot be read: {error.strerror}") from None


def _match(source: Source, inputs: Sequence[TensorSpec]) -> list[tuple[TensorSpec, str]]:
    """Which array feeds which input. Raises DataError for an array without an input and an input without an array."""
    names = [spec.name for spec in inputs]
    if source.names == (ONLY_INPUT,) and ONLY_INPUT not in names:
        if len(inputs) != 1:
            raise DataError(
                f"{source.path}: has one array, but the model has {len(inputs)} inputs ({', '.join(names)}); "
                "give an .npz with an array for each"
            )
        return [(inputs[0], ONLY_INPUT)]
    for name in source.names:
        if name not in names:
            raise DataError(
                f'{source.path}: array "{name}" is no input of the model{nearest(name, names)} '
                f'(inputs: {", ".join(names)}; labels go into "y")'
            )
    for name in names:
        if name not in source.names:
            raise DataError(f'{source.path}: no array for input "{name}" (has: {", ".join(source.names)})')
    return [(spec, spec.name) for spec in inputs]


def _spread(count: int, limit: int | None, batch: int, path: str) -> NDArray[np.int64]:
    """The rows to take, evenly spread, so that a set that is sorted by class keeps all its classes."""
    taken = count if limit is None else min(limit, count)
    if taken < batch:
        raise DataError(f"{path}: {taken} samples; the model's batch is {batch}: expected at least as many")
    taken -= taken % batch
    return np.arange(taken, dtype=np.int64) * count // taken
