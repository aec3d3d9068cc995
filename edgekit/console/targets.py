"""The tables of ``edgekit targets``."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgekit.console.narrow import print_table
from edgekit.console.terminal import new_table, output_console

if TYPE_CHECKING:
    from edgekit.profiles.target import Target


def show_targets(profiles: Sequence["Target"]) -> None:
    """One line per target."""
    table = new_table("target", "precision", "formats", "description")
    for profile in profiles:
        table.add_row(profile.name, str(profile.precision), " ".join(profile.formats), profile.description)
    print_table(output_console(), table)


def target_json(profile: "Target") -> dict[str, Any]:
    """A profile as ``edgekit targets --json`` prints it: what it says and what the defaults are."""
    document = asdict(profile)
    document["path"] = str(profile.path)
    for runtime in document["runtimes"].values():
        if runtime["accelerated_ops"] is not None:
            runtime["accelerated_ops"] = sorted(runtime["accelerated_ops"])
    return document


def show_target(profile: "Target") -> None:
    """One profile, whole."""
    table = new_table("key", "value")
    for key, value in _flat(target_json(profile)):
        table.add_row(key, value)
    print_table(output_console(), table)


def _flat(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
