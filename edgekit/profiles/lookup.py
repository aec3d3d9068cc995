"""Where profiles are: the working directory first, then the package (or, in a source tree, the root of the tree)."""

import stat
from pathlib import Path

from edgekit.errors import ProfileError, nearest

_PACKAGE = Path(__file__).resolve().parent.parent


def find_profile(folder: str, name: str) -> Path:
    """The file of profile ``name`` in ``folder`` (``"targets"``, ``"devices"`` or ``"calibration"``).

    A ``name`` that ends in ``.toml`` is a path and is taken as it is. Raises ProfileError with the nearest known name.
    """
    if name.endswith(".toml"):
        try:
            is_file = stat.S_ISREG(Path(name).stat().st_mode)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            is_file = False
        except OSError as error:
            raise ProfileError(f"{name}: cannot be read: {error.strerror}") from None
        if not is_file:
            raise ProfileError(f"{name}: no such file; expected a TOML profile or one of: {_known(folder)}")
        return Path(name)
    found = profile_paths(folder)
    if name not in found:
        kind = folder.removesuffix("s")
        raise ProfileError(f'unknown {kind} "{name}"{nearest(name, found)} (known: {_known(folder)})')
    return found[name]


def profile_paths(folder: str) -> dict[str, Path]:
    """Every profile in ``folder`` by name, sorted; a file in the working directory hides the package's."""
    paths = {path.stem: path for path in _packaged(folder).glob("*.toml")}
    paths |= {path.stem: path for path in Path(folder).glob("*.toml")}
    return dict(sorted(paths.items()))


def _packaged(folder: str) -> Path:
    """A wheel carries the folders in ``edgekit/_profiles``; a source tree has them beside the package."""
    in_wheel = _PACKAGE / "_profiles" / folder
    return in_wheel if in_wheel.is_dir() else _PACKAGE.parent / folder


def _known(folder: str) -> str:
    return ", ".join(profile_paths(folder)) or "none"
