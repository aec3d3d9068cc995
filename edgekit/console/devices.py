"""The tables of ``edgekit devices``."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.text import Text

from edgekit.console.narrow import print_table
from edgekit.console.terminal import new_table, output_console

if TYPE_CHECKING:
    from edgekit.devices import Devices


def show_devices(found: "Devices") -> None:
    """One line per device, then what to do about those that cannot be used."""
    table = new_table("device", "state", "model", "SoC", "ABI", "OS", "labels")
    for column in table.columns[:2]:
        column.no_wrap = True
    for each in found.devices:
        cells = (each.name, each.state, each.model, each.soc, each.abi, each.os, " ".join(each.labels))
        table.add_row(*(Text(cell or "") for cell in cells))
    console = output_console()
    print_table(console, table)
    for each in found.devices:
        if each.advice:
            console.print(_advice(each.name, each.advice), markup=False, soft_wrap=True)
    if any(each.state == "not checked" for each in found.devices):
        console.print("boards over ssh are tried with --check", markup=False)
    for note in found.notes:
        console.print(note, markup=False, soft_wrap=True)


def show_device(found: "Devices") -> None:
    """One device, whole, with its profile."""
    (device,) = found.devices
    table = new_table("key", "value")
    for key, value in _flat(device.to_json()):
        table.add_row(key, Text(value))
    console = output_console()
    print_table(console, table)
    for note in found.notes:
        console.print(note, markup=False, soft_wrap=True)


def _advice(name: str, advice: str) -> str:
    """Errors name the device already."""
    return advice if name in advice else f"{name}: {advice}"


def _flat(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, "" if key == "profile" else f"{prefix}{key}.")
        elif value is not None and value not in ("", [], ()):
            yield prefix + key, " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
