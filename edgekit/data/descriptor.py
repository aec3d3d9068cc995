"""Data that a ``.toml`` descriptor points to: checked against its sha256, with the labels of a file beside it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekit.data.arrays import open_arrays
from edgekit.data.images import ImageSource, LabelFile
from edgekit.data.labels import read_label_file
from edgekit.data.source import RawSample, Source, exists, file_sha256
from edgekit.errors import DataError
from edgekit.profiles.calibration import CalibrationSet


class DescribedSource:
    """A descriptor's source under the descriptor's name; its digest is over the descriptor and all that it names."""

    def __init__(self, described: CalibrationSet, source: Source) -> None:
        self.path = str(described.path)
        self.names = source.names
        self.count = source.count
        self.labels: NDArray[np.int64] | None = source.labels
        self.row_shapes = source.row_shapes
        self._described = described
        self._source = source
        self._source_sha256 = described.sha256 or source.sha256()

    def rows(self, chosen: NDArray[np.int64]) -> Iterator[RawSample]:
        """A new pass over the chosen samples."""
        return self._source.rows(chosen)

    def sha256(self) -> str:
        """Over the descriptor, the source and the label file."""
        digests = [file_sha256(self._described.path), self._source_sha256]
        if self._described.labels:
            digests.append(file_sha256(self._described.labels))
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def where(self, name: str, index: int) -> str:
        """As the source says."""
        return self._source.where(name, index)


def open_described(described: CalibrationSet, inputs: tuple[str, ...]) -> DescribedSource:
    """Open what a descriptor points to. Raises DataError when it is not there or has another sha256."""
    source = _open_source(described, inputs)
    if described.sha256 and source.sha256() != described.sha256:
        raise DataError(
            f"{described.source}: sha256 is {source.sha256()}; {described.path} expects {described.sha256}: "
            "get the right data, or correct the descriptor"
        )
    return DescribedSource(described, source)


def _open_source(described: CalibrationSet, inputs: tuple[str, ...]) -> Source:
    source = described.source
    if not exists(source):
        raise DataError(f'{described.path}: "source" is {source}: no such file or folder')
    if source.is_dir():
        label_file = _label_file(described.labels) if described.labels else None
        return ImageSource(str(source), label_file)
    if source.suffix not in (".npz", ".npy"):
        raise DataError(f'{described.path}: "source" is {source}; expected an .npz, an .npy or a folder of images')
    if described.labels:
        raise DataError(f'{described.path}: "labels" is for folders of images; an .npz has its labels in the array "y"')
    try:
        return open_arrays(str(source), inputs)
    except OSError as error:
        raise DataError(f"{source}: cannot be read: {error.strerror}") from None


def _label_file(path: Path) -> LabelFile:
    return LabelFile(path, read_label_file(path))
