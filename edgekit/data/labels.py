"""Class labels: of an array beside the samples, or of a file that maps image paths to classes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError


def parse_labels(labels: NDArray[Any], count: int, where: str) -> NDArray[np.int64]:
    """Class indices, int64 (count,), from indices (count,) or (count, 1), or from one-hot rows (count, classes).

    Raises DataError for another length, for what is no whole number of at least 0, and for rows that are not one-hot.
    """
    if labels.dtype.kind not in "biuf":
        raise DataError(f"{where}: labels of type {labels.dtype}; expected whole numbers")
    check_labels_shape(labels.shape, count, where)
    if labels.ndim == 2 and labels.shape[1] > 1:
        return _from_one_hot(labels, where)
    flat = labels.reshape(-1)
    wrong = np.flatnonzero(~(np.isfinite(flat) & (flat == np.floor(flat)) & (flat >= 0)))
    if wrong.size:
        raise DataError(f"{where}: label {wrong[0]} is {flat[wrong[0]]}; expected a class index, 0 or more")
    return flat.astype(np.int64)


def check_labels_shape(shape: tuple[int, ...], count: int, where: str) -> None:
    """Raise DataError for a shape that labels of ``count`` samples do not have."""
    if len(shape) not in (1, 2) or shape[0] != count:
        raise DataError(f"{where}: labels of shape {shape} for {count} samples; expected one class per sample")


def check_classes(labels: NDArray[np.int64], classes: int, where: str) -> None:
    """Raise DataError when a label is none of a model's ``classes``."""
    wrong = np.flatnonzero(labels >= classes)
    if wrong.size:
        value = labels[wrong[0]]
        raise DataError(f"{where}: label {wrong[0]} is {value}; the model has {classes} classes, 0 to {classes - 1}")


def read_label_file(path: Path) -> dict[str, int]:
    """Image path to class, from a JSON object or from text lines ``<path> <class>``. Raises DataError."""
    try:
        text = path.read_text(encoding="utf-8")
        entries = json.loads(text) if path.suffix == ".json" else _from_lines(text, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # not UTF-8, not JSON
        raise DataError(f"{path}: not a label file: {error}") from None
    if not isinstance(entries, dict):
        raise DataError(f"{path}: expected an object that maps image paths to class indices")
    for image, label in entries.items():
        if isinstance(label, bool) or not isinstance(label, int) or label < 0:
            raise DataError(f'{path}: label of "{image}" is {label!r}; expected a class index, 0 or more')
    return entries


def _from_one_hot(labels: NDArray[Any], where: str) -> NDArray[np.int64]:
    one_hot = ((labels == 0) | (labels == 1)).all(axis=1) & (labels.sum(axis=1) == 1)
    wrong = np.flatnonzero(~one_hot)
    if wrong.size:
        raise DataError(
            f"{where}: labels of shape {labels.shape}, row {wrong[0]} is not one-hot; "
            "expected one class index per sample, or one 1 among zeros"
        )
    classes: NDArray[np.int64] = labels.argmax(axis=1).astype(np.int64)
    return classes


def _from_lines(text: str, path: Path) -> dict[str, int]:
    entries = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        image, _, label = line.strip().replace("\t", " ").replace(",", " ").rpartition(" ")
        if not image or not label.isdecimal():
            raise DataError(f"{path}: line {number} is {line.strip()!r}; expected an image path and its class index")
        entries[image.strip()] = int(label)
    return entries
