"""Tables on terminals that are too narrow for them: squeezed, or else each row as a few lines."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgekit.console.terminal import PIPE_WIDTH

_ENOUGH = 10_000
_PIECES = re.compile(r"(?<=[/ ])")
"""Where a line may end: behind a blank, and behind a folder of a path or of a node's name."""
_INDENT = 4
_GAP = 3


def print_table(console: Console, table: Table) -> None:
    """Print a table of texts, on a narrow terminal so that no figure and no word is cut.

    Headers, paths and sentences go over several lines first. Where that is not enough, the first column becomes a line
    of its own, and the others follow below it as ``header value``.
    """
    natural = console.measure(table, options=console.options.update(width=_ENOUGH)).maximum
    if console.width >= PIPE_WIDTH or natural <= console.width:
        console.print(table)
        return
    columns = [_Column.of(column.header, column.cells, number=column.justify == "right") for column in table.columns]
    widths = _squeeze(columns, console.width - 2 * len(columns) - 1)
    if widths is not None:
        console.print(_squeezed(columns, widths))
        return
    _print_lines(console, ["", *(line for lines in _records(columns, console.width) for line in lines), ""])


def lines_of(
    titles: Sequence[str], rows: Sequence[Sequence[str]], width: int, names: int = 1
) -> tuple[str, list[list[str]]]:
    """A table without a frame: its title, and the lines of each row; ``#`` begins the titles of numbers.

    That is one line, or where it would be too long for the width of a terminal several, without a title, below the
    row's first ``names`` cells. Their indentation is the first cell's.
    """
    title, *lines = _aligned(titles, rows)
    if width >= PIPE_WIDTH or max(map(cell_len, [title, *lines])) <= width:
        return title, [[line] for line in lines]
    named = [("  ".join(row[:names]), *row[names:]) for row in rows]
    cells = zip(*named, strict=True) if named else [()] * (len(titles) - names + 1)
    numbers = [title.startswith("#") for title in titles[names - 1 :]]
    columns = [
        _Column(title.strip("#"), tuple(column), number)
        for title, column, number in zip(titles[names - 1 :], cells, numbers, strict=True)
    ]
    deep = min((len(row[0]) - len(row[0].lstrip()) for row in rows), default=0)
    return "", list(_records(columns, width, deep + _INDENT))


def print_pairs(console: Console, pairs: Sequence[tuple[str, str]]) -> None:
    """Keys and values; a value that is too long goes on below, and is broken only between words and folders."""
    start = _GAP + max((cell_len(key) for key, _ in pairs), default=0)
    for key, value in pairs:
        room = console.width - start - 2
        first, *rest = [value] if console.width >= PIPE_WIDTH else _wrap(value, room)
        lines = [f"{key}{' ' * (start - cell_len(key))}{first}", *(" " * start + each for each in rest)]
        _print_lines(console, [f"  {line}".rstrip() for line in lines])


def _print_lines(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def _aligned(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    plain = [title.strip("#") for title in titles]
    widths = [max(map(cell_len, column)) for column in zip(plain, *rows, strict=True)]
    for row in (plain, *rows):
        gaps = [" " * (width - cell_len(text)) for text, width in zip(row, widths, strict=True)]
        each = zip(titles, row, gaps, strict=True)
        yield "  ".join(gap + text if title.startswith("#") else text + gap for title, text, gap in each).rstrip()


@dataclass(frozen=True, slots=True)
class _Column:
    header: str
    cells: tuple[str, ...]
    number: bool

    @classmethod
    def of(cls, header: object, cells: object, *, number: bool) -> "_Column":
        assert isinstance(cells, Iterator)
        return cls(_plain(header), tuple(_plain(cell) for cell in cells), number)

    @property
    def width(self) -> int:
        """Of its longest cell, and of the longest word of its header."""
        return max(self._least_header, *map(cell_len, self.cells), 0)

    @property
    def least(self) -> int:
        """Numbers are not broken, texts only between words and folders."""
        pieces = (piece.rstrip() for cell in self.cells for piece in _PIECES.split(cell))
        return self.width if self.number else max(self._least_header, *map(cell_len, pieces), 0)

    @property
    def _least_header(self) -> int:
        return max(map(cell_len, self.header.split()), default=0)


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)


def _squeeze(columns: Sequence[_Column], available: int) -> list[int] | None:
    """Widths that fit, taken from the widest texts first; None when there are none."""
    widths = [column.width for column in columns]
    while sum(widths) > available:
        wide = [index for index, column in enumerate(columns) if widths[index] > column.least]
        if not wide:
            return None
        widths[max(wide, key=lambda index: widths[index])] -= 1
    return widths


def _squeezed(columns: Sequence[_Column], widths: Sequence[int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        header = "\n".join(_wrap(column.header, width))
        table.add_column(Text(header), justify="right" if column.number else "left", no_wrap=True, vertical="top")
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text("\n".join(_wrap(cell, width))) for cell, width in zip(row, widths, strict=True)))
    return table


def _wrap(text: str, width: int) -> Iterator[str]:
    """Lines of at most ``width``, where the pieces are not longer."""
    line = ""
    for piece in _PIECES.split(text):
        if line and cell_len((line + piece).rstrip()) > width:
            yield line.rstrip()
            line = ""
        line += piece
    yield line.rstrip()


def _records(columns: Sequence[_Column], width: int, indent: int = _INDENT) -> Iterator[list[str]]:
    """A line for the first cell, unless it is blank, and indented ones for the others, in line with other rows'."""
    others = [column for column in columns[1:] if any(column.cells)]
    labels = [f"{column.header} " if column.header else "" for column in others]
    sizes = [cell_len(label) + max(map(cell_len, column.cells)) for label, column in zip(labels, others, strict=True)]
    for name, *row in zip(*(column.cells for column in (columns[0], *others)), strict=True):
        lines = [name, ""]
        for column, label, size, cell in zip(others, labels, sizes, row, strict=True):
            if lines[-1] and cell_len(lines[-1]) + size > width:
                lines.append("")
            blank = " " * (size - cell_len(label) - cell_len(cell))
            pair = (label + blank + cell if column.number else label + cell + blank) if cell else " " * size
            lines[-1] = (lines[-1] or " " * indent) + pair + " " * _GAP
        yield [line.rstrip() for line in lines if line.strip()]
