"""The typer application, and the options that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

import edgekit
from edgekit.errors import UsageError

_ORDER = ("export", "inspect", "verify", "benchmark", "history", "targets", "devices")


class _InOrder(typer.core.TyperGroup):
    """Lists the commands in the order in which they are used; one that is not in ``_ORDER`` comes last."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


app = typer.Typer(
    cls=_InOrder,
    name="edgekit",
    help="A trained model in; verified INT8 TFLite, MNN and ONNX files for phones, boards and PCs out.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_LARGEST_SIZE = 2**31 - 1

Model = Annotated[Path, typer.Argument(help="The model: .onnx, .keras, .h5, .tflite (float) or a SavedModel folder.")]
InputShapes = Annotated[
    list[str] | None,
    typer.Option("--input-shape", metavar="NAME=1,3,224,224", help="Shape of a dynamic input (repeatable)."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgekit {edgekit.__version__}")
        raise typer.Exit


@app.callback()
def _edgekit(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (also after a command).")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def parse_shapes(texts: Sequence[str] | None) -> dict[str, tuple[int, ...]]:
    """``["image=1,3,224,224"]`` as ``{"image": (1, 3, 224, 224)}``. Raises UsageError."""
    shapes = {}
    for text in texts or ():
        name, _, dims = text.rpartition("=")
        parts = dims.split(",")
        if not name or not all(part.strip().isdecimal() and 0 < int(part) <= _LARGEST_SIZE for part in parts):
            raise UsageError(f"--input-shape {text}: expected NAME=1,3,224,224 with sizes from 1 to {_LARGEST_SIZE}")
        if name in shapes:
            raise UsageError(f"--input-shape {name}: given twice")
        shapes[name] = tuple(int(part) for part in parts)
    return shapes
