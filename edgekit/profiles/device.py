"""Device profiles: the machines that artifacts are measured on (``devices/*.toml``)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgekit.profiles.lookup import find_profile, profile_paths
from edgekit.profiles.toml import Table, read_toml


@dataclass(frozen=True, slots=True)
class Device:
    """One machine. ``threads`` is how many a runtime gets there; ``labels`` are free words to select devices by."""

    name: str
    path: Path
    description: str
    kind: Literal["local"]
    threads: int
    labels: tuple[str, ...]


def load_device(name: str) -> Device:
    """The profile called ``name``, or the ``.toml`` file that ``name`` is the path of. Raises ProfileError."""
    return _parse(read_toml(find_profile("devices", name)))


def list_devices() -> list[Device]:
    """All profiles of the working directory and the package, sorted by name. Raises ProfileError."""
    return [_parse(read_toml(path)) for path in profile_paths("devices").values()]


def _parse(root: Table) -> Device:
    device = Device(
        name=root.path.stem,
        path=root.path,
        description=root.string("description"),
        kind=root.one_of("kind", ("local",)),
        threads=root.integer("threads", 1, minimum=1),
        labels=root.strings("labels", ()),
    )
    root.finish()
    return device
