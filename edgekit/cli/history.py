"""``edgekit history``: its commands and their flags."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.app import Json, app
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.history import History, Selection

history_app = typer.Typer(
    name="history", invoke_without_command=True, help="Show and compare what was measured before."
)
app.add_typer(history_app)


class _Metric(StrEnum):
    MEDIAN = "median_ms"
    P90 = "p90_ms"
    PEAK_MEMORY = "peak_memory_bytes"
    RATIO = "ratio"


_RUN = "A run's id or its beginning, last, last~1, or a results .json file"

Artifact = Annotated[
    str | None, typer.Option("--artifact", help="Only this file: part of its path, or 6 or more digits of its sha256.")
]
DeviceName = Annotated[
    str | None, typer.Option("--device", "-d", help="Only this device: part of its name, model or SoC.")
]
Runtime = Annotated[str | None, typer.Option("--runtime", help="Only this runtime: litert, onnxruntime or mnn.")]
Since = Annotated[str | None, typer.Option("--since", help="Only from then on: 2026-11-01, or 90min, 12h, 7d, 2w ago.")]
_LIMIT = 20

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many runs.")]


@history_app.callback()
def _history(
    context: typer.Context,
    artifact: Artifact = None,
    device: DeviceName = None,
    runtime: Runtime = None,
    since: Since = None,
    limit: Limit = _LIMIT,
    json_: Json = False,
) -> None:
    """List what was measured, newest first; or show, compare, plot or delete runs."""
    if context.invoked_subcommand is None:
        list_(artifact, device, runtime, since, limit, json_)
    elif (artifact, device, runtime, since, limit, json_) != (None, None, None, None, _LIMIT, False):
        name = context.invoked_subcommand
        raise UsageError(f"history: options before {name} are for the list alone; put them behind {name}")


@history_app.command("list")
def list_(
    artifact: Artifact = None,
    device: DeviceName = None,
    runtime: Runtime = None,
    since: Since = None,
    limit: Limit = _LIMIT,
    json_: Json = False,
) -> None:
    """List what was measured, newest first (what edgekit history does alone)."""
    from edgekit import console
    from edgekit.console.history import runs_json, show_runs
    from edgekit.history.selection import select

    history = _open()
    selection = select(device=device, artifact=artifact, runtime=runtime, since=since)
    runs = history.runs(selection, limit=limit)
    if json_:
        console.print_json(runs_json(runs, history.path))
    elif runs:
        show_runs(runs)
    else:
        typer.echo(_nothing(history, selection), err=True)


@history_app.command()
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help=f"{_RUN}; RUN:INDEX shows one of its results.")],
    json_: Json = False,
) -> None:
    """Show one run: all figures, settings, environment and states."""
    from edgekit import console
    from edgekit.console.history import show_run
    from edgekit.history import documents

    report = documents.only(documents.find_report(run, _open()))
    if json_:
        console.print_json(report.to_json())
    else:
        show_run(report)


@history_app.command()
def compare(
    old: Annotated[str, typer.Argument(metavar="OLD", help=f"{_RUN}; RUN:INDEX is one of its results.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Likewise, what is compared with it.")],
    fail_above: Annotated[
        float | None,
        typer.Option("--fail-above", metavar="RATIO", help="Exit 5 when a new median is above RATIO x the old one."),
    ] = None,
    json_: Json = False,
) -> None:
    """Compare the results of two runs: ratio of the medians, its interval, and in what else the runs differ."""
    from edgekit import console
    from edgekit.console.history import show_comparison
    from edgekit.history import compare_reports, find_report
    from edgekit.history.comparison import check_limit

    if fail_above is not None:
        check_limit(fail_above)
    history = _open()
    comparison = compare_reports(find_report(old, history), find_report(new, history))
    if not json_:
        show_comparison(comparison)
    if fail_above is not None:
        comparison.require(fail_above)
    if json_:
        console.print_json(comparison.to_json())


@history_app.command()
def plot(
    artifact: Artifact = None,
    device: DeviceName = None,
    runtime: Runtime = None,
    since: Since = None,
    limit: Limit = 100,
    metric: Annotated[_Metric, typer.Option("--metric", "-m", help="What to plot.")] = _Metric.MEDIAN,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write a .png or .svg (pip install 'edgekit\\[plot]').")
    ] = None,
) -> None:
    """Plot a figure over the runs, per artifact, runtime and device: in the terminal, or as PNG or SVG."""
    from edgekit.console.history import show_plot
    from edgekit.history import figure
    from edgekit.history.selection import select
    from edgekit.history.series import gather

    if out is not None:
        figure.require_figure(out)
    history = _open()
    selection = select(device=device, artifact=artifact, runtime=runtime, since=since)
    drawn = gather(history.runs(selection, limit=limit), str(metric))
    if not drawn.series:
        typer.echo(_nothing(history, selection, str(metric)), err=True)
        return
    if out is None:
        show_plot(drawn)
    else:
        figure.save_figure(drawn, out)
        typer.echo(f"wrote {out}", err=True)
    if drawn.left_out:
        typer.echo(f"{drawn.left_out} more are not drawn; choose with --artifact, --device or --runtime", err=True)


@history_app.command()
def delete(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN...", help="Ids, their beginnings, last.")] = None,
    keep: Annotated[
        int | None, typer.Option("--keep", min=0, metavar="N", help="Delete all but the newest N runs of each device.")
    ] = None,
) -> None:
    """Delete runs."""
    if bool(runs) == (keep is not None):
        raise UsageError("history delete: expected either runs or --keep N")
    history = _open()
    found = [history.find(run) for run in runs or ()] if keep is None else history.beyond(keep)
    if found:
        history.delete(found)
    typer.echo(f"deleted {len(set(found))} runs of {history.path}", err=True)


def _open() -> "History":
    from edgekit.history import History, default_path

    return History(default_path())


def _nothing(history: "History", selection: "Selection", metric: str = "") -> str:
    """Why there is nothing to show, and what to do."""
    if not history.runs(limit=1):
        return f"{history.path}: no benchmarks yet; edgekit benchmark ARTIFACT... records them"
    runtimes = sorted({each.runtime for run in history.runs() for each in run.measurements})
    devices = sorted({run.device for run in history.runs()})
    what = f"no run with {metric}" if metric else "no run"
    return (
        f"{history.path}: {what} matches; it has runs of the devices {', '.join(devices)} "
        f"and the runtimes {', '.join(runtimes) or 'none'}"
    )
