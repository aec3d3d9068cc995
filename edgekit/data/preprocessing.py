"""From an image to a model's input: resize, crop, colour order, scaling, layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError, DependencyError
from edgekit.interface import TensorSpec
from edgekit.profiles.calibration import Preprocessing

_PILLOW_FILTERS = {
    "nearest": "NEAREST",
    "bilinear": "BILINEAR",
    "bicubic": "BICUBIC",
    "lanczos": "LANCZOS",
    "area": "BOX",
}
_COLOR_OF_CHANNELS = {1: "gray", 3: "rgb", 4: "rgba"}
_PILLOW_MODES = {"gray": "L", "rgb": "RGB", "bgr": "RGB", "rgba": "RGBA"}

_Layout = Literal["nhwc", "nchw"]


@dataclass(frozen=True, slots=True)
class ImageInput:
    """How a model wants its image: sizes in pixels."""

    layout: _Layout
    height: int
    width: int
    channels: int


def image_input(spec: TensorSpec, layout: _Layout | None) -> ImageInput:
    """Read an image input's shape: the channels are where 1, 3 or 4 is, unless ``layout`` says. Raises DataError."""
    shape = spec.shape
    if len(shape) != 4:
        raise DataError(f'input "{spec.name}" has shape {shape}: no image input (batch, height, width, channels)')
    if layout is None:
        first, last = shape[1] in _COLOR_OF_CHANNELS, shape[3] in _COLOR_OF_CHANNELS
        if first == last:
            raise DataError(
                f'input "{spec.name}" has shape {shape}: cannot tell where its channels are; '
                'write a calibration .toml with layout = "nhwc" or "nchw" under [preprocessing]'
            )
        layout = "nhwc" if last else "nchw"
    if layout == "nhwc":
        return ImageInput(layout, shape[1], shape[2], shape[3])
    return ImageInput(layout, shape[2], shape[3], shape[1])


class ImageTransform:
    """Apply a ``Preprocessing`` to images, (height, width) or (height, width, channels), for one input of a model.

    Gives (height, width, channels) or (channels, height, width), float32; uint8 when nothing scales the pixels. Images
    that are not uint8 can be scaled, but neither resized nor converted. Raises DataError.
    """

    def __init__(self, preprocessing: Preprocessing, spec: TensorSpec) -> None:
        self._preprocessing = preprocessing
        self._input = image_input(spec, preprocessing.layout)
        self._color = preprocessing.color or _COLOR_OF_CHANNELS.get(self._input.channels)
        for name in ("scale", "offset", "mean", "std"):
            values = getattr(preprocessing, name)
            if len(values) not in (1, self._input.channels):
                raise DataError(
                    f'"{name}" has {len(values)} numbers; input "{spec.name}" has {self._input.channels} channels'
                )

    def __call__(self, image: NDArray[Any], where: str) -> NDArray[Any]:
        """Transform one image; ``where`` names it in errors."""
        pixels = self._converted(image[:, :, None] if image.ndim == 2 else image, where)
        if self._preprocessing.color == "bgr":
            pixels = pixels[:, :, ::-1]
        pixels = self._scaled(pixels)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1) if self._input.layout == "nchw" else pixels)

    def _converted(self, pixels: NDArray[Any], where: str) -> NDArray[Any]:
        """Of the right size and number of channels."""
        wanted = (self._input.height, self._input.width, self._input.channels)
        as_they_are = self._preprocessing.resize is None and self._preprocessing.crop is None
        if pixels.shape == wanted and as_they_are:
            return pixels
        if pixels.ndim != 3 or pixels.dtype != np.uint8 or pixels.shape[2] not in _COLOR_OF_CHANNELS:
            raise DataError(
                f"{where}: an image of shape {pixels.shape} and type {pixels.dtype} cannot be resized or converted to "
                f"{wanted}; expected uint8 (height, width, 1, 3 or 4 channels)"
            )
        converted = self._through_pillow(pixels, where)
        if converted.shape != wanted:
            raise DataError(f"{where}: preprocessing gives shape {converted.shape}; the model wants {wanted}")
        return converted

    def _through_pillow(self, pixels: NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
        try:
            from PIL import Image
        except ModuleNotFoundError:
            raise DependencyError("resizing images needs Pillow: pip install 'edgekit[images]'") from None
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        if self._color:
            image = image.convert(_PILLOW_MODES[self._color])
        height, width = self._resized(image.height, image.width)
        if (image.height, image.width) != (height, width):
            resampling = Image.Resampling[_PILLOW_FILTERS[self._preprocessing.resize_mode]]
            image = image.resize((width, height), resampling)
        converted: NDArray[np.uint8] = np.asarray(image)
        return self._cropped(converted[:, :, None] if converted.ndim == 2 else converted, where)

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """The size before the crop: as given, or the shorter side as given, or the model's own."""
        resize = self._preprocessing.resize
        if resize is None:
            return (height, width) if self._preprocessing.crop else (self._input.height, self._input.width)
        if len(resize) == 2:
            return resize[0], resize[1]
        shorter = min(height, width)
        return resize[0] * height // shorter, resize[0] * width // shorter

    def _cropped(self, pixels: NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
        if self._preprocessing.crop is None:
            return pixels
        height, width = self._preprocessing.crop
        top, left = round((pixels.shape[0] - height) / 2), round((pixels.shape[1] - width) / 2)
        if top < 0 or left < 0:
            raise DataError(f"{where}: crop of {height}x{width} from {pixels.shape[0]}x{pixels.shape[1]} pixels")
        return pixels[top : top + height, left : left + width]

    def _scaled(self, pixels: NDArray[Any]) -> NDArray[Any]:
        wanted = self._preprocessing
        if (wanted.scale, wanted.offset, wanted.mean, wanted.std) == ((1.0,), (0.0,), (0.0,), (1.0,)):
            return pixels
        scaled = pixels.astype(np.float32) * _per_channel(wanted.scale) + _per_channel(wanted.offset)
        return (scaled - _per_channel(wanted.mean)) / _per_channel(wanted.std)


def _per_channel(values: Sequence[float]) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)
