"""A plot as a PNG or SVG file, by matplotlib (``pip install 'edgekit[plot]'``), which needs no screen."""

import importlib.util
import io
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import DependencyError, HistoryError, UsageError
from edgekit.files import replace_file
from edgekit.history.series import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NOT_VALID = "not valid (throttled, not settled, or not every round was measured)"
SUFFIXES = (".png", ".svg")

_INCHES = (9.0, 4.8)
_LEGEND_LINE = 0.22
_MOST_DATES = 7


def require_figure(path: Path) -> None:
    """Raise UsageError when ``path`` has another suffix, DependencyError when matplotlib is not installed."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--out {path}: expected a file name that ends in .png or .svg")
    if importlib.util.find_spec("matplotlib") is None:
        raise DependencyError(f"{path}: PNG and SVG need matplotlib: pip install 'edgekit[plot]'")


def save_figure(plot: Plot, path: Path) -> None:
    """Write the plot; the same plot gives the same file. A hollow marker is a figure that is not valid.

    Raises UsageError, DependencyError, and HistoryError when the file cannot be written.
    """
    require_figure(path)
    content = _draw(plot, path.suffix.lower()[1:])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        raise HistoryError(f"{path}: cannot be written: {error.strerror}; expected a place for a file") from error


def _draw(plot: Plot, format_name: str) -> bytes:
    import matplotlib as mpl
    from matplotlib.figure import Figure  # not pyplot, which keeps a global figure and looks for a screen

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "edgekit", "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(_INCHES[0], _INCHES[1] + _LEGEND_LINE * len(plot.series)), layout="constrained")
        axes = figure.add_subplot()
        _draw_series(axes, plot)
        _label_axes(axes, plot)
        figure.legend(loc="outside lower left", frameon=False, fontsize="small")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a letter that the font does not have
            figure.savefig(buffer, format=format_name, dpi=150, metadata={"Date": None} if format_name == "svg" else {})
    return buffer.getvalue()


def _draw_series(axes: "Axes", plot: Plot) -> None:
    for number, series in enumerate(plot.series):
        color = f"C{number}"
        places = [point.at for point in series.points]
        label = series.label.replace("$", r"\$")  # which would begin a formula
        label = f"./{label}" if label.startswith("_") else label  # which would be left out of the legend
        axes.plot(places, [point.value for point in series.points], color=color, linewidth=1, alpha=0.6)
        filled = [color if point.valid else "white" for point in series.points]
        values = [point.value for point in series.points]
        axes.scatter(places, values, s=28, c=filled, edgecolors=color, zorder=3)
        axes.plot([], [], color=color, marker="o", markersize=5, linewidth=1, label=label)
    if any(not point.valid for series in plot.series for point in series.points):
        axes.plot([], [], "o", color="grey", fillstyle="none", markersize=5, label=NOT_VALID)


def _label_axes(axes: "Axes", plot: Plot) -> None:
    axes.set_title(plot.title, loc="left", fontsize="medium")
    if plot.is_wide:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.set_ylim(plot.limits)
    axes.grid(axis="y", alpha=0.25)
    axes.margins(x=0.03)
    places = range(len(plot.starts))[:: -math.ceil(len(plot.starts) / _MOST_DATES)]  # the newest always has its date
    axes.set_xticks(places, [plot.starts[at].astimezone().strftime("%Y-%m-%d\n%H:%M") for at in places])
    axes.tick_params(labelsize="small")
