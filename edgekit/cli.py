"""The command line: signatures and help; the work is in the modules that the bodies import when they run."""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

import edgekit
from edgekit.errors import EdgekitError, UsageError
from edgekit.interface import IoType, PrecisionChoice

app = typer.Typer(
    name="edgekit",
    help="A trained model in; verified INT8 TFLite, MNN and ONNX files for phones, boards and PCs out.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_ClickError: type[Exception] = typer.BadParameter.__mro__[2]
"""Click's base of wrong usage; typer ships click inside itself since 0.26 and does not re-export it."""

_ISSUES = "https://github.com/edgekit/edgekit/issues"
_INTERRUPTED = 130
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
        input_shapes=_parse_shapes(input_shape),
        io=str(io),
        threads=threads,
        progress=console.progress(),
    )
    console.show_export(manifest)
    if json_:
        console.print_json(manifest.to_json())


@app.command()
def inspect(
    model: Model,
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", help="Say what this target supports and accelerates.")
    ] = None,
    input_shape: InputShapes = None,
    json_: Json = False,
) -> None:
    """Show inputs, outputs, parameters, MACs and ops of a model; with --target, what runs there."""
    from edgekit import console, inspection

    found = inspection.inspect(
        model, target or (), input_shapes=_parse_shapes(input_shape), progress=console.progress()
    )
    if json_:
        console.print_json(found.to_json())
    else:
        console.show_inspection(found)


@app.command()
def targets(
    name: Annotated[str | None, typer.Argument(help="Show this profile.")] = None,
    json_: Json = False,
) -> None:
    """List the target profiles, or show one."""
    from edgekit import console
    from edgekit.profiles.target import list_targets, load_target

    profiles = [load_target(name)] if name else list_targets()
    if json_:
        console.print_json({"schema": 1, "targets": [console.target_json(each) for each in profiles]})
    elif name:
        console.show_target(profiles[0])
    else:
        console.show_targets(profiles)


def _parse_shapes(texts: Sequence[str] | None) -> dict[str, tuple[int, ...]]:
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


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with a code of ``edgekit.errors``; every error is one line on stderr."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    # Operators are rounded side by side already; numpy reads this when it is first imported, which is later than here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime writes to the home folder otherwise
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    if not debug:
        sys.excepthook = partial(_report_bug, arguments)
    try:
        # Calling the app itself would put typer's own excepthook in place of ours.
        command = typer.main.get_command(app)
        code = command.main([a for a in arguments if a != "--debug"], prog_name="edgekit", standalone_mode=False)
        sys.stdout.flush()
        if code == _INTERRUPTED:  # typer makes this exit code of a KeyboardInterrupt
            raise KeyboardInterrupt
    except _ClickError as error:
        code = _fail(error.format_message(), UsageError.exit_code, arguments)  # type: ignore[attr-defined]
    except EdgekitError as error:
        if debug:
            traceback.print_exc()
        code = _fail(str(error), error.exit_code, arguments)
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("interrupted; no file is half-written", _INTERRUPTED, arguments)
    except BrokenPipeError:
        code = _close_streams()
    sys.exit(code or 0)


def _close_streams() -> int:
    """Keep Python from flushing at exit into a pipe whose reader left, or onto a full disk."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    return 0


def _report_bug(arguments: Sequence[str], kind: type[BaseException], error: BaseException, trace: object) -> None:
    """The excepthook: what edgekit did not foresee is one line too; Python then exits with code 1."""
    what = f"{kind.__name__}: {error}"
    _fail(f"a bug in edgekit: {what}; please report it at {_ISSUES} (--debug shows the traceback)", 1, arguments)


def _fail(message: str, code: int, arguments: Sequence[str]) -> int:
    message = " ".join(message.split())
    if "--json" in arguments:
        import json

        try:
            typer.echo(json.dumps({"schema": 1, "error": {"message": message, "exit_code": code}}))
        except OSError:  # what cannot be written is the error itself
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    typer.echo(f"edgekit: error: {message}", err=True)
    return code


def _terminate(number: int, frame: FrameType | None) -> None:
    """A cancelled release build gets SIGTERM, a closed terminal SIGHUP: clean up as after Ctrl-C."""
    raise KeyboardInterrupt
