"""A plot of letters, for terminals and logs."""

import math
from string import ascii_uppercase

from edgekit.history.figure import NOT_VALID
from edgekit.history.series import Plot, Point, Series

_ROWS = 16
_TICKS_EVERY = 5
_SEVERAL = "*"
_LABEL = 11
"""Columns of a tick's value and the axis."""


def draw_chart(plot: Plot, width: int) -> list[str]:
    """The lines of a chart of at most ``width`` columns, its legend below.

    Runs stand evenly spaced, oldest first. A small letter is a figure that is not valid.
    """
    columns = max(width - _LABEL, 10)
    scale = _Scale(plot)
    grid = [[" "] * columns for _ in range(_ROWS)]
    for series in plot.series:
        _draw_line(grid, series, scale, columns)
    for letter, series in zip(ascii_uppercase, plot.series, strict=False):
        _draw_points(grid, series, letter, scale, columns)
    ticks = range(0, _ROWS, _TICKS_EVERY)
    lines = [
        (scale.tick(row).rjust(_LABEL - 2) + " ┤" if row in ticks else " " * (_LABEL - 1) + "│") + "".join(cells)
        for row, cells in enumerate(grid)
    ]
    lines = [line.rstrip() for line in lines]
    lines.append(" " * (_LABEL - 1) + "└" + "─" * columns)
    return [plot.title, *lines, _dates(plot, columns), "", *_legend(plot, grid)]


class _Scale:
    """Where values and runs are drawn."""

    def __init__(self, plot: Plot) -> None:
        self._wide = plot.is_wide
        low, high = plot.limits
        if self._wide:
            values = [point.value for series in plot.series for point in series.points]
            low, high = math.log10(min(values)), math.log10(max(values))
        self._low, self._high = low, high
        self._last = max(len(plot.starts) - 1, 1)
        self._middle = len(plot.starts) == 1

    def row(self, value: float) -> int:
        share = (self._transform(value) - self._low) / (self._high - self._low)
        return round((1 - share) * (_ROWS - 1))

    def column(self, at: int, columns: int) -> int:
        return columns // 2 if self._middle else round(at / self._last * (columns - 1))

    def tick(self, row: int) -> str:
        value = self._high - (self._high - self._low) * row / (_ROWS - 1)
        return f"{10**value if self._wide else value:.4g}"

    def _transform(self, value: float) -> float:
        return math.log10(value) if self._wide else value


def _draw_points(grid: list[list[str]], series: Series, letter: str, scale: _Scale, columns: int) -> None:
    for point in series.points:
        row, column = scale.row(point.value), scale.column(point.at, columns)
        is_free = grid[row][column] in (" ", "·", letter, letter.lower())
        grid[row][column] = (letter if point.valid else letter.lower()) if is_free else _SEVERAL


def _draw_line(grid: list[list[str]], series: Series, scale: _Scale, columns: int) -> None:
    """Dots between neighbouring points."""
    for before, after in zip(series.points, series.points[1:], strict=False):
        _draw_segment(grid, before, after, scale, columns)


def _draw_segment(grid: list[list[str]], before: Point, after: Point, scale: _Scale, columns: int) -> None:
    first, last = scale.column(before.at, columns), scale.column(after.at, columns)
    start, end = scale.row(before.value), scale.row(after.value)
    for column in range(first + 1, last):
        row = round(start + (end - start) * (column - first) / (last - first))
        if grid[row][column] == " ":
            grid[row][column] = "·"


def _dates(plot: Plot, columns: int) -> str:
    first, last = (start.astimezone().strftime("%Y-%m-%d %H:%M") for start in (plot.starts[0], plot.starts[-1]))
    if len(plot.starts) == 1:
        return " " * _LABEL + first.center(columns).rstrip()
    return " " * _LABEL + first + last.rjust(max(columns - len(first), len(last) + 1))


def _legend(plot: Plot, grid: list[list[str]]) -> list[str]:
    lines = []
    for letter, series in zip(ascii_uppercase, plot.series, strict=False):
        first, last = series.points[0].value, series.points[-1].value
        change = f"{plot.spell(first)} -> {plot.spell(last)}" if len(series.points) > 1 else plot.spell(last)
        times = f" ({last / first:.3f}x in {len(series.points)} runs)" if len(series.points) > 1 and first else ""
        lines.append(f"{letter}  {series.label}: {change}{times}")
    if any(not point.valid for series in plot.series for point in series.points):
        lines.append(f"small letters: {NOT_VALID}")
    if any(_SEVERAL in row for row in grid):
        lines.append(f"{_SEVERAL}  several in one place")
    return lines
