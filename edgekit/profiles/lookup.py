"""Where profiles are: the working directory first, then the package (or, in a source tree, the root of the tree)."""

import stat
from pathlib import Path

from edgekit.errors import ProfileError, nearest

_PACKAGE = Path(__file__).resolve().parent.parent


def find_profile(folder: str, name: str, *, extending: Path | None = None) -> Path:
    """The file of profile ``name`` in ``folder`` (``"targets"``, ``"devices"`` or ``"calibration"``).

    A ``name`` that ends in ``.toml`` is a path and is taken as it is. ``extending`` is the profile that says ``name``:
    paths are relative to its folder, and it does not find itself. Raises ProfileError with the nearest known name.
    """
    if name.endswith(".toml"):
        path = Path(name) if extending is None else extending.parent / name
        if not _is_file(path):
            raise ProfileError(f"{path}: no such file; expected a TOML profile or one of: {_known(folder)}")
        return path
    found = profile_paths(folder)
    packaged = _packaged(folder) / f"{name}.toml"
    if extending is not None and name in found and _same(found[name], extending) and packaged.is_file():
        return packaged
    if name not in found:
        kind = folder.removesuffix("s")
        raise ProfileError(f'unknown {kind} "{name}"{nearest(name, found)} (known: {_known(folder)})')
    return found[name]


def profile_paths(folder: str) -> dict[str, Path]:
    """Every profile in ``folder`` by name, sorted; a file in the working directory hides the package's."""
    paths = {path.stem: path for path in _packaged(folder).glob("*.toml")}
    paths |= {path.stem: path for path in Path(folder).glob("*.toml")}
    return dict(sorted(paths.items()))


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror}") from None


def _same(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve()


def _packaged(folder: str) -> Path:
    """A wheel carries the folders in ``edgekit/_profiles``; a source tree has them beside the package."""
    in_wheel = _PACKAGE / "_profiles" / folder
    return in_wheel if in_wheel.is_dir() else _PACKAGE.parent / folder


def _known(folder: str) -> str:
    return ", ".join(profile_paths(folder)) or "none"
