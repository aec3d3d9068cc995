"""``edgekit benchmark``: its flags."""

from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.app import Json, app
from edgekit.errors import EdgekitError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.benchmarking.results import Report
    from edgekit.history.documents import Found


class _Runtime(StrEnum):
    LITERT = "litert"
    ONNXRUNTIME = "onnxruntime"
    MNN = "mnn"


class _Delegate(StrEnum):
    XNNPACK = "xnnpack"
    GPU = "gpu"
    NNAPI = "nnapi"
    NONE = "none"


@app.command()
def benchmark(
    artifacts: Annotated[
        list[str], typer.Argument(metavar="ARTIFACT...", help=".tflite, .mnn, .onnx, manifest.json or its folder.")
    ],
    device: Annotated[
        str, typer.Option("--device", "-d", help="A device profile, a .toml file, local, adb:SERIAL or ssh:HOST.")
    ] = "local",
    threads: Annotated[int | None, typer.Option("--threads", help="Threads; the device profile's by default.")] = None,
    runtime: Annotated[_Runtime | None, typer.Option("--runtime", help="Only this runtime's artifacts.")] = None,
    delegate: Annotated[_Delegate | None, typer.Option("--delegate", help="Instead of what the target has.")] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", "-t", help="Only this target's artifacts of an export; its promises must hold."),
    ] = None,
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="SECONDS", help="Measure each artifact for so long.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="10 s or 128 runs of each artifact instead of 60 s or 1024.")
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option("--compare", metavar="OLD", help="An artifact to measure beside, or a results .json or a run."),
    ] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Show the slowest operations.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also write the document here, after each artifact.")
    ] = None,
    history: Annotated[bool, typer.Option(help="Record the figures in the history.")] = True,
    json_: Json = False,
) -> None:
    """Measure artifacts on this machine or on a device over adb or ssh: latency, memory and their spread."""
    from edgekit import console
    from edgekit.benchmarking.benchmark import benchmark as measure
    from edgekit.benchmarking.subjects import is_artifact

    beside = compare is not None and is_artifact(compare)
    old = None if compare is None or beside else _find_report(compare)
    measured: list[Report] = []
    with _showing(measured):
        report = measure(
            artifacts,
            device=device,
            threads=threads,
            runtime=runtime,
            delegate=delegate,
            target=target,
            duration=duration,
            quick=quick,
            compare=compare if beside else None,
            profile=profile,
            out=out,
            history=history,
            journal=measured.append,
            progress=console.progress(),
        )
    document = report.to_json()
    if old is not None:
        with _reporting(measured):
            document["comparison"] = _compare(old, report)
    if json_:
        console.print_json(document)


@contextmanager
def _showing(measured: "list[Report]") -> "Iterator[None]":
    """A run that fails has measured something too, and the error that follows says why there is no more."""
    from edgekit.console.benchmark import show_report

    try:
        with _reporting(measured):
            yield
    finally:
        if measured:
            show_report(measured[-1])


@contextmanager
def _reporting(measured: "list[Report]") -> "Iterator[None]":
    """Let an error carry what was measured until then."""
    try:
        yield
    except EdgekitError as error:
        if measured:
            error.document = measured[-1].to_json()
        raise


def _find_report(reference: str) -> "Found":
    from edgekit.history import History, default_path, find_report

    return find_report(reference, History(default_path()))


def _compare(old: "Found", new: "Report") -> dict[str, Any]:
    from edgekit.console.history import show_comparison
    from edgekit.console.terminal import error_console
    from edgekit.history import compare_reports
    from edgekit.history.documents import Found

    comparison = compare_reports(old, Found(new))
    show_comparison(comparison, console=error_console())
    return comparison.to_json()
