"""``edgekit inspect``: its flags."""

from typing import Annotated

import typer

from edgekit.cli.app import InputShapes, Json, Model, app, parse_shapes


@app.command()
def inspect(
    model: Model,
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", help="Say what this target supports and accelerates.")
    ] = None,
    input_shape: InputShapes = None,
    channels: Annotated[
        bool, typer.Option("--channels", help="Show which channels can be pruned, and which cannot, and why.")
    ] = False,
    json_: Json = False,
) -> None:
    """Show inputs, outputs, parameters, MACs and ops of a model; with --target, what runs there."""
    from edgekit import console, inspection
    from edgekit.console.inspection import show_inspection

    found = inspection.inspect(
        model, target or (), input_shapes=parse_shapes(input_shape), channels=channels, progress=console.progress()
    )
    if json_:
        console.print_json(found.to_json())
    else:
        show_inspection(found)
