"""A folder of images, or of one sub-folder per class."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekit.data.source import ONLY_INPUT, RawSample, files_sha256
from edgekit.errors import DataError, DependencyError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


class ImageSource:
    """Images in the order of their sorted paths, uint8 (height, width, channels) as they are in the file.

    ``labels`` are the indices of the sorted sub-folder names (as in Keras and torchvision: as text, so "10" is before
    "2"), or what ``label_file`` says; None for a folder without sub-folders.
    """

    def __init__(self, path: str, label_file: "LabelFile | None" = None) -> None:
        self.path = path
        self.names: tuple[str, ...] = (ONLY_INPUT,)
        self.row_shapes: Mapping[str, tuple[int, ...]] = {}
        root = Path(path)
        try:
            self._images, classes = _images_and_classes(root)
        except OSError as error:
            raise DataError(f"{error.filename or path}: cannot be read: {error.strerror}") from None
        if not self._images:
            raise DataError(f"{path}: has no images ({', '.join(sorted(SUFFIXES))})")
        if label_file:
            classes = [label_file.label_of(image, root) for image in self._images]
        self.count = len(self._images)
        self.labels = np.array(classes, dtype=np.int64) if classes else None

    def rows(self, chosen: NDArray[np.int64]) -> Iterator[RawSample]:
        """A new pass over the chosen images."""
        for index in chosen:
            yield {ONLY_INPUT: read_image(self._images[index])}

    def sha256(self) -> str:
        """Over all paths and contents."""
        return files_sha256(Path(self.path), self._images)

    def where(self, name: str, index: int) -> str:
        """The image's file."""
        return str(self._images[index])


class LabelFile:
    """Labels of images from a file; its paths are relative to its own folder, to the images' folder, or bare names."""

    def __init__(self, path: Path, entries: dict[str, int]) -> None:
        self._path = path
        self._entries = entries

    def label_of(self, image: Path, root: Path) -> int:
        """The class of ``image``, which lies below ``root``. Raises DataError when the file does not have it."""
        for base in (self._path.parent.resolve(), root.resolve()):
            name = image.resolve()
            key = name.relative_to(base).as_posix() if name.is_relative_to(base) else image.name
            if key in self._entries:
                return self._entries[key]
        if image.name in self._entries:
            return self._entries[image.name]
        raise DataError(f"{self._path}: has no label for {image}")


def read_image(path: Path) -> NDArray[np.uint8]:
    """The pixels of an 8-bit image, (height, width, channels): gray, RGB or RGBA. Raises DataError, DependencyError."""
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise DependencyError("images need Pillow: pip install 'edgekit[images]'") from None
    try:
        with Image.open(path) as image:
            return _pixels(image, path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow's decoders raise
        raise DataError(f"{path}: cannot be read as an image: {error}") from None


def _pixels(image: "Image.Image", path: Path) -> NDArray[np.uint8]:
    if image.mode.startswith(("I", "F")):
        raise DataError(f"{path}: has more than 8 bits per channel (mode {image.mode}); expected an 8-bit image")
    if image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
    pixels: NDArray[Any] = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _images_and_classes(root: Path) -> tuple[list[Path], list[int]]:
    """All images, and the class of each; no classes when the images lie in ``root`` itself."""
    direct = _images(root.iterdir())
    folders = sorted((each for each in root.iterdir() if each.is_dir() and _visible(each)), key=lambda each: each.name)
    per_class = [_images(_walk(folder)) for folder in folders]
    if direct and any(per_class):
        raise DataError(f"{root}: has images beside sub-folders with images; expected either, so that labels are clear")
    if direct or not any(per_class):
        return direct, []
    for folder, images in zip(folders, per_class, strict=True):
        if not images:
            raise DataError(f"{folder}: has no images, and would count as a class; remove it, or put its images there")
    images = [image for images in per_class for image in images]
    return images, [label for label, images in enumerate(per_class) for _ in images]


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in SUFFIXES and _visible(path) and path.is_file())


def _walk(folder: Path) -> Iterator[Path]:
    """Everything below ``folder``; unlike Path.rglob this raises OSError for a folder that cannot be read."""
    for path in folder.iterdir():
        yield path
        if path.is_dir() and not path.is_symlink() and _visible(path):
            yield from _walk(path)


def _visible(path: Path) -> bool:
    """Whether it belongs to the data: not hidden, and not what macOS puts into archives."""
    return not path.name.startswith(".") and path.name != "__MACOSX"
