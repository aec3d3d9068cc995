"""The table of ``edgekit benchmark``, and of ``edgekit history show``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from edgekit.benchmarking.probe import MAXIMUM_SLOWDOWN
from edgekit.benchmarking.results import MODERATE
from edgekit.console.narrow import print_table
from edgekit.console.terminal import error_console, new_table, spell_number

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.benchmarking.executors import DeviceFacts
    from edgekit.benchmarking.results import Report, Result

_MEGABYTE = 1e6
_SLOWEST = 10
_SLOW_GOVERNORS = ("powersave", "conservative")
_LARGE_ROUND_SPREAD = 0.1
_LARGE_CV = 1.0

# Two tables: one would not fit a terminal.
_RATIO = "#ratio [95 % CI]"
_LATENCY = ("runtime", "#threads", "#median ms", "#p90", "#p99", "#CV %", _RATIO, "")
_REST = ("#load ms", "#first ms", "#peak MB", "#accelerated", "version")


def show_report(report: "Report", *, console: "Console | None" = None) -> None:
    """The figures of every artifact, the slowest operations where there is a profile, and what to know beside them.

    Prints on stderr unless ``console`` is another one.
    """
    console = console or error_console()
    if report.results:
        _show_figures(console, report)
    for result in report.results:
        if result.profile:
            _show_profile(console, result)
    for line in (_device_line(report.device), *_notes(report)):
        console.print(printable(line), markup=False, soft_wrap=True)


def _show_figures(console: "Console", report: "Report") -> None:
    names = short_paths([each.path for each in report.results])
    for columns, row in ((_LATENCY, _latency), (_REST, _rest)):
        table = new_table("artifact", *columns)
        for column in table.columns:
            column.no_wrap = column.no_wrap or column.header in ("runtime", _RATIO.strip("#"))
        for name, result in zip(names, report.results, strict=True):
            table.add_row(*cells(name, *row(result)))
        print_table(console, table)


def short_paths(paths: Sequence[str]) -> list[str]:
    """The paths without what all of them begin with; a single one, or equal ones, as file name."""
    parts = [Path(path).parts for path in paths]
    shared = 0
    while parts and all(len(each) > shared + 1 and each[shared] == parts[0][shared] for each in parts):
        shared += 1
    return [str(Path(*each[shared:])) for each in parts]


def spell_flags(result: "Result") -> str:
    """What is wrong with a result, in a word."""
    if result.throttled:
        return "throttled"
    return "" if result.valid else "not valid"


def _latency(result: "Result") -> tuple[str, ...]:
    interval = "" if result.ratio_ci is None else f" [{result.ratio_ci[0]:.3f}, {result.ratio_ci[1]:.3f}]"
    return (
        "/".join(filter(None, (result.runtime, result.delegate))),
        str(result.threads),
        spell_milliseconds(result.median_ms),
        spell_milliseconds(result.p90_ms),
        spell_milliseconds(result.p99_ms),
        spell_number(None if result.cv is None else result.cv * 100, 1),
        spell_number(result.ratio, 3) + interval,
        spell_flags(result),
    )


def _rest(result: "Result") -> tuple[str, ...]:
    return (
        spell_number(result.load_ms, 1),
        spell_milliseconds(result.first_ms),
        spell_number(None if result.peak_memory_bytes is None else result.peak_memory_bytes / _MEGABYTE, 1),
        _accelerated(result),
        result.runtime_version or "",
    )


def spell_milliseconds(value: float | None) -> str:
    """A time with the digits that count: nanoseconds of what is fast, tenths of a millisecond of what takes seconds."""
    if value is None:
        return ""
    if value >= 1000:
        return f"{value:.1f}"
    return f"{value:#.4g}" if value >= 0.1 else f"{value:.6f}"


def _accelerated(result: "Result") -> str:
    if result.accelerated_ops is None:
        return "unknown"
    return f"{result.accelerated_ops}/{'?' if result.total_ops is None else result.total_ops}"


def _show_profile(console: "Console", result: "Result") -> None:
    """The slowest operations of one result."""
    whole = sum(operation.mean_ms for operation in result.profile)
    slowest = sorted(result.profile, key=lambda operation: -operation.mean_ms)[:_SLOWEST]
    table = new_table("op", "node", "#mean ms", "#%", "accelerated")
    for operation in slowest:
        share = 100 * operation.mean_ms / whole if whole else 0.0
        accelerated = {True: "yes", False: "no", None: ""}[operation.accelerated]
        table.add_row(
            *cells(operation.op, operation.node, spell_milliseconds(operation.mean_ms), f"{share:.1f}", accelerated)
        )
    console.print(printable(f"slowest operations of {result.path}:"), markup=False, soft_wrap=True)
    print_table(console, table)
    if len(result.profile) > _SLOWEST:
        rest = whole - sum(operation.mean_ms for operation in slowest)
        console.print(
            f"and {len(result.profile) - _SLOWEST} more, {spell_milliseconds(rest)} ms together", markup=False
        )


def _device_line(device: "DeviceFacts") -> str:
    """Where it was measured."""
    known = [text for text in (device.model, device.soc, device.abi, device.os) if text]
    return f"measured on {device.name}" + (f" ({', '.join(known)})" if known else "")


def _notes(report: "Report") -> Iterator[str]:
    """What makes figures less than they seem."""
    if not report.complete:
        yield "not finished: these are the figures so far"
    planned = report.settings.get("rounds")
    yield from merge_notes([(result.path, tuple(_notes_of(result, planned))) for result in report.results])


def merge_notes(named: Sequence[tuple[str, Sequence[str]]]) -> Iterator[str]:
    """Notes with the names of what they are about; one that holds for all is said once."""
    found: dict[str, list[str]] = {}
    for name, notes in named:
        for note in notes:
            found.setdefault(note, []).append(name)
    for note, names in found.items():
        yield note if len(names) == len(named) else f"{', '.join(names)}: {note}"


def _notes_of(result: "Result", planned: object) -> Iterator[str]:
    yield from _faults(result, planned)
    if result.throttled is None:
        yield "throttling unknown: not every round was followed by a probe that answered"
    if result.cv is not None and result.cv > _LARGE_CV:
        yield "other programs have disturbed single runs: CV and the upper percentiles show it, the median stands"
    if _rounds_differ(result):
        yield (
            "the rounds differ: half of their medians are more than 10 % apart; the ratio within a run stands, "
            "for the figure itself measure on a quieter machine"
        )
    if not result.cores:
        yield "not pinned to cores: expect more spread"
    elif result.threads > len(result.cores):
        yield f"{result.threads} threads on {len(result.cores)} cores wait for each other: give fewer --threads"
    if result.runner == "python":
        note = "measured by edgekit's runner in Python: the interpreter is in the peak memory"
        yield note if result.runtime == "mnn" else f"{note} (with gcc or pip install 'edgekit[ssh]' it is the one in C)"
    if result.state.governor in _SLOW_GOVERNORS:
        yield f"governor {result.state.governor}: slower than it could be, and less steady; set performance"
    if result.state.thermal_status is not None and result.state.thermal_status >= MODERATE:
        yield f"thermal status {result.state.thermal_status} before measuring: the device was hot"
    if result.statistic != "runs":
        yield f"the median is that of {result.statistic}: {result.runner} does not tell each run"


def _rounds_differ(result: "Result") -> bool:
    """Whether the interquartile range of the rounds' medians is above a tenth of the median: a machine of two minds."""
    medians = sorted(result.round_medians_ms)
    quarter = len(medians) // 4
    return bool(quarter) and medians[-1 - quarter] - medians[quarter] > _LARGE_ROUND_SPREAD * result.median_ms


def _faults(result: "Result", planned: object) -> Iterator[str]:
    """What makes a result not valid, or nearly so; ``planned`` are the rounds that were asked for."""
    missing = isinstance(planned, int) and result.rounds < planned
    if result.throttled:
        remedy = "let it cool, end what else runs, and measure again"
        yield f"throttled{_spell_throttling(result)} and stayed so: not valid; {remedy}"
    elif not result.valid and (missing or result.settled is not False):
        yield "not every round was measured: not valid"
    if result.settled is False:
        most = not (result.valid or result.throttled or missing)
        yield f"the warm-up did not settle in {'most rounds: not valid' if most else 'every round: expect more spread'}"


def _spell_throttling(result: "Result") -> str:
    """By what it was noticed."""
    found = [f"{result.slowdown:.2f}x slower"] if result.slowdown and result.slowdown > MAXIMUM_SLOWDOWN else []
    status = result.state_after.thermal_status
    if status:
        found.append(f"thermal status {status}")
    return f" ({', '.join(found)})" if found else ""


def cells(*texts: str) -> list[Text]:
    """Texts as cells of a table: brackets in file names are no markup."""
    return [Text(printable(text)) for text in texts]


def printable(text: str) -> str:
    """Control characters as escapes: a newline in a file name would split a row. So is what is not UTF-8 in a path."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
