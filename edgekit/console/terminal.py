"""What all tables and documents are printed with: tables on stderr or stdout, JSON on stdout, progress bars."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from edgekit.errors import EdgekitError
from edgekit.progress import Advance, Progress

if TYPE_CHECKING:
    from edgekit.runtimes import Delegation

PIPE_WIDTH = 160
"""Columns of a table that goes to a file or a CI log, which have no width of their own."""


class _Terminal(Console):
    """rich ends the process when the reader of a pipe leaves; the command line decides what that means."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def error_console() -> Console:
    """Where tables beside a JSON document go."""
    return _Terminal(stderr=True, width=None if sys.stderr.isatty() else PIPE_WIDTH, highlight=False)


def output_console() -> Console:
    """Where a command that only shows something prints."""
    return _Terminal(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


class Bar:
    """A Progress that draws one bar per stage on a terminal and removes it when the stage ends."""

    @contextmanager
    def stage(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """Draw the stage's bar, or a spinner when its length is not known."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        counted = (*columns[:3], MofNCompleteColumn(), columns[3])
        with Bars(*(counted if total else columns), console=error_console(), transient=True) as bars:
            task = bars.add_task(description, total=total)
            yield lambda steps: bars.advance(task, steps)


_LONG = (
    "measuring channel groups",
    "searching",
    "compensating",
    "timing the unpruned artifacts",
    "timing narrower networks",
    "timing, before and after",
    "recovery: looking at the start",
    "recovering",
)
"""Stages that may take minutes."""


class Lines:
    """A Progress that prints one line for each stage that may take minutes, and nothing for the others."""

    def __init__(self) -> None:
        self._last = ""

    @contextmanager
    def stage(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """Tell of the stage when it begins; of the same one again, only after another."""
        if description.startswith(_LONG) and description != self._last:
            error_console().print(f"{description} ...", markup=False, soft_wrap=True)
            self._last = description
        yield lambda steps: None


def progress() -> Progress:
    """Bars when stderr is a terminal, else a line for each long stage: a log needs no control characters."""
    return Bar() if sys.stderr.isatty() else Lines()


def print_json(document: object) -> None:
    """Print one JSON document on stdout. Raises EdgekitError when that cannot be written."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    if not (_can_be(text, "utf-8") and _can_be(text, sys.stdout.encoding)):
        text = json.dumps(document, indent=2)
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise EdgekitError(
            f"standard output: cannot be written ({error.strerror}); make room or redirect it"
        ) from error


def _can_be(text: str, encoding: str) -> bool:
    """Whether ``text`` can be written so; a path that is not UTF-8 has characters that nothing takes."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


class _PlainTable(Table):
    """Its texts are shown as they are: brackets in the names of nodes and files are no markup."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """One cell for each column."""
        super().add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def new_table(*columns: str) -> Table:
    """An empty table; a column whose title begins with ``#`` or a space holds numbers."""
    table = _PlainTable(box=box.SIMPLE_HEAD)
    for column in columns:
        numeric = column.startswith((" ", "#"))
        table.add_column(
            column.strip(" #"), justify="right" if numeric else "left", no_wrap=column == "artifact", overflow="fold"
        )
    return table


def spell_number(value: float | None, digits: int = 2) -> str:
    """A number with so many digits behind the point, or nothing."""
    return "" if value is None else f"{value:.{digits}f}"


def spell_accelerated(delegation: "Delegation | None") -> str:
    """``7/9``: how many operations of how many are accelerated."""
    return "unknown" if delegation is None else f"{delegation.accelerated_ops}/{delegation.total_ops}"
