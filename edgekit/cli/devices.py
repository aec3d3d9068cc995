"""``edgekit devices``: its flags."""

from typing import Annotated

import typer

from edgekit.cli.app import Json, app
from edgekit.errors import DeviceError


@app.command()
def devices(
    name: Annotated[
        str | None, typer.Argument(help="Show this one, and try it: a profile, a .toml file, adb:SERIAL or ssh:HOST.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="Only those with it (repeatable).")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Try the boards over ssh and phones over the network, too.")
    ] = False,
    json_: Json = False,
) -> None:
    """List the devices known and attached, and why one cannot be used; exit code 6 if the one named cannot."""
    from edgekit import console
    from edgekit.console.devices import show_device, show_devices
    from edgekit.devices import find_devices

    found = find_devices(name, labels=label or (), check=check, progress=console.progress())
    if json_:
        console.print_json(found.to_json())
    elif name and found.devices:
        show_device(found)
    else:
        show_devices(found)
    if name and any(each.usable is False for each in found.devices):
        raise typer.Exit(DeviceError.exit_code)
