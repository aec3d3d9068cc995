"""What a user may set of an export, checked and typed once for the command line and the Python API."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from os import PathLike
from pathlib import Path
from typing import Any, Self, TypeVar

from edgekit.errors import UsageError, nearest
from edgekit.interface import IoType, Precision, PrecisionChoice
from edgekit.progress import Progress, Silent
from edgekit.pruning.settings import PruningKeywords, PruningSettings

DataPath = str | PathLike[str]
"""A data PATH: .npz, .npy, an image folder, a .toml descriptor or ``module:function``."""

_Choice = TypeVar("_Choice", bound=StrEnum)


class ExportKeywords(PruningKeywords, total=False):
    """The keyword arguments of :func:`edgekit.export`; each is the flag of the same name.

    Those that remove channels are in :class:`edgekit.pruning.settings.PruningKeywords`.

    calibration: unlabelled samples for static int8.
    eval: labelled samples that the artifacts are judged on instead of the calibration samples.
    precision: ``"auto"`` (the profile's), ``"int8"``, ``"int8-dynamic"``, ``"int8-weights"``, ``"fp16"`` or ``"fp32"``.
    max_drop: largest loss in percentage points of top-1 (of agreement, without labels), instead of the profile's gate.
    out: the output folder, ``"dist"`` by default.
    name: name of the files, the model's by default.
    samples: use N calibration samples, spread evenly over the set.
    input_shapes: shapes of dynamic inputs by name.
    io: ``"float"`` or ``"int8"``, what the artifacts take and give.
    threads: threads of the runtimes of this machine.
    progress: told of each stage.
    """

    calibration: DataPath | None
    eval: DataPath | None
    precision: str
    max_drop: float | None
    out: str | PathLike[str]
    name: str | None
    samples: int | None
    input_shapes: Mapping[str, tuple[int, ...]]
    io: str
    threads: int | None
    progress: Progress


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """The checked settings of one export; see :class:`ExportKeywords`. ``precision`` None is the profile's.

    ``pruning`` is None when nothing is to be removed.
    """

    calibration: str | None
    eval: str | None
    precision: Precision | None
    max_drop: float | None
    out: Path
    name: str
    samples: int | None
    io: IoType
    threads: int
    pruning: PruningSettings | None = None
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    progress: Progress = field(default_factory=Silent)

    @classmethod
    def of(cls, model: Path, keywords: ExportKeywords) -> Self:
        """Check ``keywords`` for an export of ``model``. Raises UsageError."""
        known = ExportKeywords.__optional_keys__
        unknown = sorted(set(keywords) - known)
        if unknown:
            raise UsageError(f'unknown argument "{unknown[0]}"{nearest(unknown[0], sorted(known))}')
        precision = _choice("precision", PrecisionChoice, keywords.get("precision", "auto"))
        return cls(
            calibration=_path("calibration", keywords.get("calibration")),
            eval=_path("eval", keywords.get("eval")),
            precision=None if precision is PrecisionChoice.AUTO else Precision(precision),
            max_drop=_percent("max-drop", keywords.get("max_drop")),
            out=Path(keywords.get("out", "dist")),
            name=_default_name(model) if keywords.get("name") is None else _name(str(keywords["name"])),
            samples=_positive("samples", keywords.get("samples")),
            io=_choice("io", IoType, keywords.get("io", "float")),
            threads=_positive("threads", keywords.get("threads")) or 1,
            pruning=PruningSettings.of(keywords),
            input_shapes=dict(keywords.get("input_shapes") or {}),
            progress=keywords.get("progress") or Silent(),
        )

    def to_json(self) -> dict[str, Any]:
        """What decides the result, for the manifest; data, model and pruning have entries of their own there."""
        return {
            "precision": "auto" if self.precision is None else str(self.precision),
            "io": str(self.io),
            "max_drop": self.max_drop,
            "samples": self.samples,
            "threads": self.threads,
            "input_shapes": {name: list(shape) for name, shape in self.input_shapes.items()},
        }


def _path(flag: str, value: DataPath | None) -> str | None:
    if value is not None and not isinstance(value, str | PathLike):
        raise UsageError(
            f"--{flag}: got {type(value).__name__}; expected a path or module:function (numpy.savez writes arrays)"
        )
    return None if value is None else os.fspath(value)


def _choice(flag: str, kind: type[_Choice], text: str) -> _Choice:
    try:
        return kind(text)
    except ValueError:
        known = [str(member) for member in kind]
        raise UsageError(f"--{flag} {text}: expected one of {', '.join(known)}{nearest(text, known)}") from None


def _positive(flag: str, value: int | None) -> int | None:
    if value is not None and (not isinstance(value, int) or value < 1):
        raise UsageError(f"--{flag} {value}: expected a whole number, at least 1")
    return value


def _percent(flag: str, value: float | None) -> float | None:
    if value is not None and not (isinstance(value, int | float) and 0 <= value <= 100):
        raise UsageError(f"--{flag} {value}: expected percentage points from 0 to 100")
    return value


def _default_name(model: Path) -> str:
    """The name that the user sees: of a link its own, of a folder with its dots, of a file without its suffix."""
    path = Path(os.path.abspath(model))  # noqa: PTH100 (resolve would follow links)
    return (path.name if path.is_dir() else path.stem) or "model"


def _name(text: str) -> str:
    if text in ("", ".", "..") or any(sign in text for sign in "/\\\0"):
        raise UsageError(f"--name {text!r}: expected the name of a file, without folders")
    return text
