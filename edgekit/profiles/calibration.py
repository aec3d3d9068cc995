"""Descriptors of calibration and evaluation data: where it is and how a model wants it (``calibration/*.toml``)."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgekit.profiles.lookup import find_profile
from edgekit.profiles.toml import Table, read_toml


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What happens to each image between the file and the model, in this order.

    ``resize``: (height, width) in pixels, or one number for the shorter side; None is the model's own size when no
    ``crop`` is given. ``crop``: (height, width) cut from the centre. ``color``: order of the channels, None is what the
    model's channel count says (1: gray, 3: rgb, 4: rgba). Then ``(pixel * scale + offset - mean) / std`` with pixels of
    0..255, each one number or one per channel. ``layout``: where the model has its channels; None is what its input's
    shape says.
    """

    resize: tuple[int, ...] | None = None
    resize_mode: Literal["nearest", "bilinear", "bicubic", "lanczos", "area"] = "bilinear"
    crop: tuple[int, int] | None = None
    color: Literal["rgb", "bgr", "rgba", "gray"] | None = None
    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: Literal["nhwc", "nchw"] | None = None


@dataclass(frozen=True, slots=True)
class CalibrationSet:
    """A descriptor. ``source`` and ``labels`` are resolved against the descriptor's own folder."""

    path: Path
    description: str
    license: str
    source: Path
    sha256: str | None
    labels: Path | None
    preprocessing: Preprocessing | None


def load_calibration_set(name: str) -> CalibrationSet:
    """The descriptor called ``name``, or the ``.toml`` file that ``name`` is the path of. Raises ProfileError."""
    return _parse(read_toml(find_profile("calibration", name)))


def _parse(root: Table) -> CalibrationSet:
    folder = root.path.parent
    calibration_set = CalibrationSet(
        path=root.path,
        description=root.string("description", ""),
        license=root.string("license", ""),
        source=folder / root.string("source"),
        sha256=_sha256(root),
        labels=folder / root.string("labels") if "labels" in root else None,
        preprocessing=_preprocessing(root.table("preprocessing")) if "preprocessing" in root else None,
    )
    root.string("labels", "")
    root.table("preprocessing")
    root.finish()
    return calibration_set


def _sha256(root: Table) -> str | None:
    value = root.string("sha256", "").lower()
    if value and not re.fullmatch("[0-9a-f]{64}", value):
        raise root.error("sha256", "64 hexadecimal digits")
    return value or None


def _preprocessing(table: Table) -> Preprocessing:
    preprocessing = Preprocessing(
        resize=_size(table, "resize", lengths=(1, 2)),
        resize_mode=table.one_of("resize_mode", ("nearest", "bilinear", "bicubic", "lanczos", "area"), "bilinear"),
        crop=_crop(table),
        color=table.one_of("color", ("rgb", "bgr", "rgba", "gray"), None) if "color" in table else None,
        scale=_factors(table, "scale"),
        offset=table.numbers("offset", (0.0,)),
        mean=table.numbers("mean", (0.0,)),
        std=_factors(table, "std"),
        layout=table.one_of("layout", ("nhwc", "nchw"), None) if "layout" in table else None,
    )
    for key in ("color", "layout"):
        table.string(key, "-")
    table.finish()
    return preprocessing


def _factors(table: Table, key: str) -> tuple[float, ...]:
    values = table.numbers(key, (1.0,))
    if not all(values):
        raise table.error(key, "numbers other than 0")
    return values


def _size(table: Table, key: str, lengths: tuple[int, ...]) -> tuple[int, ...] | None:
    values = table.numbers(key, ())
    if key not in table:
        return None
    if len(values) not in lengths or any(each < 1 or each != int(each) for each in values):
        raise table.error(key, "[height, width] in pixels" + (" or the shorter side" if 1 in lengths else ""))
    return tuple(int(each) for each in values)


def _crop(table: Table) -> tuple[int, int] | None:
    size = _size(table, "crop", lengths=(1, 2))
    return None if size is None else (size[0], size[-1])
