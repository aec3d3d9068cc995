"""``edgekit export``: its flags."""

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.app import InputShapes, Json, Model, app, parse_shapes
from edgekit.interface import IoType, PrecisionChoice


@app.command()
def export(
    model: Model,
    target: Annotated[list[str], typer.Option("--target", "-t", help="Target profile, or a .toml file (repeatable).")],
    calibration: Annotated[
        str | None,
        typer.Option("--calibration", "-c", help="Samples: .npz, .npy, image folder, .toml or module:function."),
    ] = None,
    eval_: Annotated[str | None, typer.Option("--eval", help="Labelled data that the artifacts are judged on.")] = None,
    precision: Annotated[
        PrecisionChoice, typer.Option("--precision", "-p", help="auto is what the target's profile says.")
    ] = PrecisionChoice.AUTO,
    max_drop: Annotated[
        float | None,
        typer.Option(
            "--max-drop",
            metavar="POINTS",
            help="Largest loss of top-1 (of top-1 agreement, without labels) instead of the profile's gate.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder.")] = Path("dist"),
    name: Annotated[str | None, typer.Option("--name", help="Name of the files; the model's by default.")] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", help="Use N of the calibration samples, spread evenly.")
    ] = None,
    input_shape: InputShapes = None,
    io: Annotated[IoType, typer.Option("--io", help="What the artifacts take and give.")] = IoType.FLOAT,
    threads: Annotated[int | None, typer.Option("--threads", help="Threads of this machine's runtimes.")] = None,
    json_: Json = False,
) -> None:
    """Import, optimize, quantize, write every format of each target, verify, and write manifest.json."""
    from edgekit import console, pipeline
    from edgekit.console.export import show_export

    manifest = pipeline.export(
        model,
        target,
        calibration=calibration,
        eval=eval_,
        precision=str(precision),
        max_drop=max_drop,
        out=out,
        name=name,
        samples=samples,
        input_shapes=parse_shapes(input_shape),
        io=str(io),
        threads=threads,
        progress=console.progress(),
    )
    show_export(manifest)
    if json_:
        console.print_json(manifest.to_json())
