"""``edgekit targets``: its flags."""

from typing import Annotated

import typer

from edgekit.cli.app import Json, app


@app.command()
def targets(
    name: Annotated[str | None, typer.Argument(help="Show this profile.")] = None,
    json_: Json = False,
) -> None:
    """List the target profiles, or show one."""
    from edgekit import console
    from edgekit.console.targets import show_target, show_targets, target_json
    from edgekit.profiles.target import list_targets, load_target

    profiles = [load_target(name)] if name else list_targets()
    if json_:
        console.print_json({"schema": 1, "targets": [target_json(each) for each in profiles]})
    elif name:
        show_target(profiles[0])
    else:
        show_targets(profiles)
