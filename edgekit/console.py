"""What a person sees: progress bars and tables on stderr, JSON on stdout."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from edgekit.errors import EdgekitError
from edgekit.progress import Advance, Progress, Silent

if TYPE_CHECKING:
    from edgekit.inspection import Inspection
    from edgekit.interface import TensorSpec
    from edgekit.profiles.target import Target
    from edgekit.release.manifest import Artifact, Manifest
    from edgekit.runtimes import Delegation

_SUFFIXES = (".tflite", ".mnn", ".onnx")
_PIPE_WIDTH = 160
"""Columns of a table that goes to a file or a CI log, which have no width of their own."""


class _Terminal(Console):
    """rich ends the process when the reader of a pipe leaves; the command line decides what that means."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _stderr() -> Console:
    return _Terminal(stderr=True, width=None if sys.stderr.isatty() else _PIPE_WIDTH, highlight=False)


def _stdout() -> Console:
    return _Terminal(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)


class Bar:
    """A Progress that draws one bar per stage on a terminal and removes it when the stage ends."""

    @contextmanager
    def stage(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """Draw the stage's bar, or a spinner when its length is not known."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        counted = (*columns[:3], MofNCompleteColumn(), columns[3])
        with Bars(*(counted if total else columns), console=_stderr(), transient=True) as bars:
            task = bars.add_task(description, total=total)
            yield lambda steps: bars.advance(task, steps)


def progress() -> Progress:
    """Bars when stderr is a terminal, else silence: a log needs no control characters."""
    return Bar() if sys.stderr.isatty() else Silent()


def print_json(document: object) -> None:
    """Print one JSON document on stdout. Raises EdgekitError when that cannot be written."""
    try:
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise EdgekitError(
            f"standard output: cannot be written ({error.strerror}); make room or redirect it"
        ) from error


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for column in columns:
        numeric = column.startswith((" ", "#"))
        table.add_column(
            column.strip(" #"), justify="right" if numeric else "left", no_wrap=column == "artifact", overflow="fold"
        )
    return table


def show_export(manifest: "Manifest") -> None:
    """The table at the end of an export: size, accuracy, interface and fallbacks of every artifact."""
    labelled = any(artifact.verification.top1 is not None for artifact in manifest.artifacts)
    accuracy = ("#top-1 %", "#float %") if labelled else ()
    table = _table(
        "artifact", "precision", "#KiB", *accuracy, "#agreement %", "#SQNR dB", "layout", "inputs", "#accelerated"
    )
    for artifact in manifest.artifacts:
        seen = artifact.verification
        table.add_row(
            artifact.path,
            artifact.precision,
            f"{artifact.bytes / 1024:,.1f}",
            *((_number(seen.top1), _number(seen.top1_float)) if labelled else ()),
            _number(seen.top1_agreement),
            _number(seen.sqnr_db, 1),
            str(artifact.layout),
            "; ".join(_spell(tensor) for tensor in artifact.interface.inputs),
            _accelerated(artifact.delegation),
        )
    console = _stderr()
    console.print(table)
    for artifact in manifest.artifacts:
        _show_fallback(console, artifact)
        if manifest.settings["io"] == "int8" and artifact.interface.inputs[0].scale is None:
            console.print(f"{artifact.path}: keeps its float interface, as its runtime has no other", markup=False)
    for note in _notes(manifest):
        console.print(note, markup=False, soft_wrap=True)


def _notes(manifest: "Manifest") -> Iterator[str]:
    """What a user should know beside the table."""
    written = {manifest.folder / artifact.path for artifact in manifest.artifacts}
    for path in sorted({path for suffix in _SUFFIXES for path in manifest.folder.glob(f"*/*{suffix}")} - written):
        yield f"{path}: of an earlier export, not in this manifest"
    seen = manifest.artifacts[0].verification
    if seen.top1_float is not None and _is_near_chance(seen.top1_float, manifest):
        yield (
            f"warning: the source model itself has only {seen.top1_float:.1f} % top-1: "
            "check the labels, and that the samples are preprocessed as in training"
        )
    if manifest.settings["eval"] is not None:
        judged = f"{seen.samples} evaluation samples"
    elif manifest.calibration is not None:
        judged = f"the {seen.samples} calibration samples themselves (--eval judges on others)"
    else:
        judged = f"{seen.samples} random samples, as no data was given"
    yield f"verified on {judged}; wrote {manifest.folder / 'manifest.json'}"


def _is_near_chance(top1: float, manifest: "Manifest") -> bool:
    """Below three times guessing, or, of few classes, in the lowest quarter above guessing."""
    sizes = [output.shape[1] for output in manifest.model.outputs if len(output.shape) == 2]
    chance = 100 / max(2, *sizes, 2)
    return top1 < min(3 * chance, chance + (100 - chance) / 4)


def _show_fallback(console: Console, artifact: "Artifact") -> None:
    if artifact.delegation is not None and artifact.delegation.fallback:
        named: dict[str, list[str]] = {}
        for fallback in artifact.delegation.fallback:
            named.setdefault(f"{fallback.op} ({fallback.reason})", []).append(fallback.node)
        what = "; ".join(f"{len(nodes)}x {op}, first {nodes[0]}" for op, nodes in named.items())
        console.print(f"{artifact.path}: fell back: {what}", markup=False, soft_wrap=True)


def show_inspection(found: "Inspection") -> None:
    """Inputs, outputs, size, ops and, per target, what is supported and accelerated."""
    console = _stdout()
    console.print(f"{found.path} ({found.format})", markup=False)
    tensors = _table("", "name", "dtype", "shape")
    for kind, group in (("input", found.inputs), ("output", found.outputs)):
        for tensor in group:
            tensors.add_row(kind, tensor.name, tensor.dtype, "x".join(map(str, tensor.shape)) or "scalar")
    console.print(tensors)
    console.print(f"parameters {found.parameters:,}   MACs {found.macs:,}   ops {sum(found.ops.values()):,}")
    console.print("  ".join(f"{op} {count}" for op, count in found.ops.items()), markup=False)
    if found.targets:
        table = _table("target", "format", "precision", "supported", "#accelerated", "what falls back or is missing")
        for row in found.targets:
            table.add_row(
                row.target,
                row.format,
                row.precision,
                "no" if row.unsupported else "yes",
                _accelerated(row.delegation),
                row.explanation(),
            )
        console.print(table)


def show_targets(profiles: Sequence["Target"]) -> None:
    """One line per target."""
    table = _table("target", "precision", "formats", "description")
    for profile in profiles:
        table.add_row(profile.name, str(profile.precision), " ".join(profile.formats), profile.description)
    _stdout().print(table)


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _spell(tensor: "TensorSpec") -> str:
    shape = "x".join(map(str, tensor.shape))
    return f"{tensor.name} {tensor.dtype}[{shape}]"


def _accelerated(delegation: "Delegation | None") -> str:
    return "unknown" if delegation is None else f"{delegation.accelerated_ops}/{delegation.total_ops}"


def target_json(profile: "Target") -> dict[str, Any]:
    """A profile as ``edgekit targets --json`` prints it: what it says and what the defaults are."""
    document = asdict(profile)
    document["path"] = str(profile.path)
    for runtime in document["runtimes"].values():
        if runtime["accelerated_ops"] is not None:
            runtime["accelerated_ops"] = sorted(runtime["accelerated_ops"])
    return document


def show_target(profile: "Target") -> None:
    """One profile, whole."""
    table = _table("key", "value")
    for key, value in _flat(target_json(profile)):
        table.add_row(key, value)
    _stdout().print(table)


def _flat(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
