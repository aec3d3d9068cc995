"""The tables of ``edgekit history``."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.console.benchmark import merge_notes, printable, short_paths, show_report, spell_milliseconds
from edgekit.console.chart import draw_chart
from edgekit.console.narrow import lines_of, print_pairs
from edgekit.console.terminal import output_console, spell_number

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.benchmarking.results import Report, Result, State
    from edgekit.history.comparison import Comparison, Pair
    from edgekit.history.selection import Measurement, Run
    from edgekit.history.series import Plot

_PATH_PARTS = 2
_FIGURES = ("  run  ", "artifact", "runtime", "#median ms", "#p90", "#CV %", "#ratio", "")
_PAIR = ("artifact", "runtime", "#old ms", "#new ms", "#new/old [95 % interval]", "verdict")


def runs_json(runs: Sequence["Run"], path: Path) -> dict[str, Any]:
    """The document of ``edgekit history --json`` (schema 1)."""
    return {"schema": 1, "history": str(path), "runs": [_run_json(run) for run in runs]}


def _run_json(run: "Run") -> dict[str, Any]:
    return {
        "run": run.run_id,
        "started": run.started.isoformat(),
        "complete": run.complete,
        "device": {"name": run.device, "kind": run.device_kind, "model": run.device_model},
        "results": [{"index": each.position} | _without_position(each) for each in run.measurements],
    }


def _without_position(measurement: "Measurement") -> dict[str, Any]:
    return {name: value for name, value in asdict(measurement).items() if name != "position"}


def show_runs(runs: Sequence["Run"]) -> None:
    """A line per run, and one per result below it."""
    rows = [_figures(each) for run in runs for each in run.measurements]
    console = output_console()
    title, lines = lines_of(_FIGURES, rows, console.width, names=2)
    rest = iter(lines)
    if title:
        console.print(title, style="bold", soft_wrap=True)
    for run in runs:
        console.print(printable(_head(run)), markup=False, soft_wrap=True)
        for line in chain.from_iterable(islice(rest, len(run.measurements))):
            console.print(line, markup=False, soft_wrap=True)
        if not run.measurements:
            console.print("    no results")


def _head(run: "Run") -> str:
    model = f" ({run.device_model})" if run.device_model else ""
    state = "" if run.complete else ", not finished"
    return f"{run.run_id}  {run.started.astimezone():%Y-%m-%d %H:%M}  {run.device}{model}{state}"


def _figures(each: "Measurement") -> tuple[str, ...]:
    return (
        f"    :{each.position}",
        printable("/".join(Path(each.path).parts[-_PATH_PARTS:])),
        printable(f"{'/'.join(filter(None, (each.runtime, each.delegate)))} x{each.threads}"),
        spell_milliseconds(each.median_ms),
        spell_milliseconds(each.p90_ms),
        spell_number(None if each.cv is None else each.cv * 100, 1),
        spell_number(each.ratio, 3),
        "throttled" if each.throttled else "" if each.valid else "not valid",
    )


def show_run(report: "Report") -> None:
    """One run: its figures, and with what and in which state it was measured."""
    console = output_console()
    console.print(printable(f"run {report.run_id} of {report.started}"), markup=False, soft_wrap=True)
    show_report(report, console=console)
    for what, mapping in (("settings", report.settings), ("environment", report.environment)):
        told = {key: value for key, value in mapping.items() if value is not None}  # a flag that was not given
        spelt = [
            (key, value if isinstance(value, str) else json.dumps(value, default=str)) for key, value in told.items()
        ]
        _print_section(console, what, spelt)
    for result in report.results:
        _print_section(console, Path(result.path).name, _details(result))


def _print_section(console: "Console", title: str, pairs: Sequence[tuple[str, str]]) -> None:
    if pairs:
        console.print(printable(title), style="bold", markup=False, soft_wrap=True)
        print_pairs(console, [(printable(key), printable(value)) for key, value in pairs])


def _details(result: "Result") -> list[tuple[str, str]]:
    return [
        ("sha256", result.sha256),
        ("path", result.path),
        ("bytes", str(result.bytes)),
        ("measured by", f"{result.runner}, {result.runs} runs in {result.rounds} rounds"),
        ("cores", " ".join(map(str, result.cores)) or "not pinned"),
        ("before", _spell_state(result.state)),
        ("after", _spell_state(result.state_after)),
    ]


def _spell_state(state: "State") -> str:
    known = [f"{key} {value}" for key, value in asdict(state).items() if value is not None]
    return ", ".join(known) or "unknown"


def show_comparison(comparison: "Comparison", *, console: "Console | None" = None) -> None:
    """Old and new figures side by side; below, what makes them hard to compare. Prints on stdout or ``console``."""
    console = console or output_console()
    named = list(zip(_names(comparison.pairs), comparison.pairs, strict=True))
    rows = [tuple(map(printable, (name, *_pair_row(pair)))) for name, pair in named]
    title, lines = lines_of(_PAIR, rows, console.width)
    if title:
        console.print(title, style="bold", soft_wrap=True)
    for line in chain.from_iterable(lines):
        console.print(line, markup=False, soft_wrap=True)
    console.print()
    notes = merge_notes([(name, pair.notes) for name, pair in named])
    missing = [f"only in the old run: {path}" for path in comparison.only_old]
    added = [f"only in the new run: {path}" for path in comparison.only_new]
    for note in (*notes, *missing, *added, *comparison.notes):
        console.print(printable(note), markup=False, soft_wrap=True)


def _names(pairs: Sequence["Pair"]) -> list[str]:
    """What to call each pair: the new file, and the old one where it has another name."""
    olds = [Path(pair.old.path).name for pair in pairs]
    news = short_paths([pair.new.path for pair in pairs])
    return [new if Path(new).name == old else f"{old} -> {new}" for old, new in zip(olds, news, strict=True)]


def _pair_row(pair: "Pair") -> tuple[str, ...]:
    interval = "" if pair.ratio_ci is None else f" [{pair.ratio_ci[0]:.3f}, {pair.ratio_ci[1]:.3f}]"
    return (
        f"{'/'.join(filter(None, (pair.new.runtime, pair.new.delegate)))} x{pair.new.threads}",
        spell_milliseconds(pair.old.median_ms),
        spell_milliseconds(pair.new.median_ms),
        spell_number(pair.ratio, 3) + interval,
        pair.verdict,
    )


def show_plot(plot: "Plot") -> None:
    """The plot in letters."""
    console = output_console()
    for line in draw_chart(plot, min(console.width, 120)):
        console.print(printable(line), markup=False, soft_wrap=True)
