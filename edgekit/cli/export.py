"""``edgekit export``: its flags."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from edgekit.cli.app import InputShapes, Json, Model, app, parse_shapes
from edgekit.interface import IoType, PrecisionChoice
from edgekit.passes.prune.scheme import ImportanceName

_prune: Callable[..., Any] = partial(typer.Option, rich_help_panel="Prune")
_recover: Callable[..., Any] = partial(typer.Option, rich_help_panel="Recover what pruning lost")


def parse_share(text: str) -> float:
    """Raises typer.BadParameter, which says what a percentage is as a share."""
    try:
        return float(text)
    except ValueError:
        percent = text.strip().removesuffix("%").strip()
        is_percent = text.strip() != percent and percent.replace(".", "", 1).isdecimal()
        example = f"{float(percent) / 100:g}" if is_percent else "0.25"
        raise typer.BadParameter(f"{text}: expected {example}, a share of the multiply-accumulates") from None


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
    prune: Annotated[
        float | None,
        _prune("--prune", metavar="RATIO", parser=parse_share, help="Remove channels: this share of the MACs."),
    ] = None,
    max_latency: Annotated[
        float | None,
        _prune(
            "--max-latency",
            metavar="MS",
            help="Remove channels until no artifact's median inference takes longer here.",
        ),
    ] = None,
    max_bytes: Annotated[
        str | None,
        _prune(
            "--max-bytes",
            metavar="SIZE",
            help="Remove channels until no artifact is larger: 1500000, 1.5MB, 800KB, 1MiB.",
        ),
    ] = None,
    importance: Annotated[
        ImportanceName | None, _prune("--importance", help="How channels are chosen; the profile's by default.")
    ] = None,
    strict: Annotated[
        bool, _prune("--strict", help="Refuse to prune without the data that the importance needs.")
    ] = False,
    recover: Annotated[
        bool, _recover("--recover", help="Train the pruned network to give what the source gives.")
    ] = False,
    recover_minutes: Annotated[
        float | None, _recover("--recover-minutes", metavar="MINUTES", help="How long it may take; 20 by default.")
    ] = None,
    quantization_aware: Annotated[
        bool, _recover("--quantization-aware", help="Train with the rounding of int8 in place.")
    ] = False,
    temperature: Annotated[
        float | None,
        _recover("--temperature", metavar="T", help="Softens the class scores that are compared in training."),
    ] = None,
    json_: Json = False,
) -> None:
    """Import, optimize, prune on request, quantize, write every format of each target, verify, write manifest.json."""
    from edgekit.settings import ExportKeywords, ExportSettings

    keywords = ExportKeywords(
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
        prune=prune,
        max_latency=max_latency,
        max_bytes=max_bytes,
        importance=importance,
        strict=strict,
        recover=recover,
        recover_minutes=recover_minutes,
        quantization_aware=quantization_aware,
        temperature=temperature,
    )
    ExportSettings.of(model, keywords)  # what is typed wrong is told at once: the pipeline takes seconds to load

    from edgekit import console, pipeline
    from edgekit.console.export import show_export

    manifest = pipeline.export(model, target, **ExportKeywords(**keywords, progress=console.progress()))
    show_export(manifest)
    if json_:
        console.print_json(manifest.to_json())
