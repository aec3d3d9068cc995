"""The tables of ``edgekit inspect``."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from edgekit.console.narrow import print_table
from edgekit.console.terminal import new_table, output_console, spell_accelerated

if TYPE_CHECKING:
    from edgekit.inspection import Inspection
    from edgekit.pruning.survey import ChannelSurvey


def show_inspection(found: "Inspection") -> None:
    """Inputs, outputs, size, ops and, per target, what is supported and accelerated."""
    console = output_console()
    console.print(f"{found.path} ({found.format})", markup=False)
    tensors = new_table("", "name", "dtype", "shape")
    for kind, group in (("input", found.inputs), ("output", found.outputs)):
        for tensor in group:
            tensors.add_row(kind, tensor.name, tensor.dtype, "x".join(map(str, tensor.shape)) or "scalar")
    print_table(console, tensors)
    console.print(f"parameters {found.parameters:,}   MACs {found.macs:,}   ops {sum(found.ops.values()):,}")
    console.print("  ".join(f"{op} {count}" for op, count in found.ops.items()), markup=False)
    if found.targets:
        table = new_table("target", "format", "precision", "supported", "#accelerated", "what falls back or is missing")
        for row in found.targets:
            table.add_row(
                row.target,
                row.format,
                row.precision,
                "no" if row.unsupported else "yes",
                spell_accelerated(row.delegation),
                row.explanation(),
            )
        print_table(console, table)
    if found.channels is not None:
        _show_channels(console, found.channels)


def _show_channels(console: Console, channels: "ChannelSurvey") -> None:
    if channels.groups:
        groups = new_table("channel group", "#channels", "#units", "#MACs %", "made by", "read by")
        for group in channels.groups:
            groups.add_row(
                group.name,
                f"{group.channels:,}",
                f"{group.units:,}",
                f"{100 * group.macs_share:.1f}",
                _some(group.producers),
                _some(group.consumers),
            )
        print_table(console, groups)
    if channels.branches:
        branches = new_table("branch that can be dropped", "#MACs %", "added at")
        for branch in channels.branches:
            branches.add_row(branch.name, f"{100 * branch.macs_share:.1f}", branch.add)
        print_table(console, branches)
    if channels.whole:
        whole = new_table("left whole because", "#operators", "#channels", "first")
        for reason, entries in channels.whole_by_reason().items():
            whole.add_row(reason, f"{len(entries):,}", f"{sum(each.channels for each in entries):,}", entries[0].node)
        print_table(console, whole)
    for line in _channel_notes(channels):
        console.print(line, markup=False, soft_wrap=True)


def _channel_notes(channels: "ChannelSurvey") -> Iterator[str]:
    if not channels.groups and not channels.branches:
        yield "nothing can be removed of this model"
        return
    yield "MACs %: of the layers that make or read the channels, of all MACs; layers count for several groups"
    # Rounded down, as the refusal of a budget is.
    most = int(1000 * max(channels.most_share, 0.0)) / 10
    multiples = f"channels go in multiples of {channels.channel_multiple}"
    yield f"{multiples}, one multiple at least stays: all that can be removed is {most:g} % of the MACs"


def _some(nodes: Sequence[str]) -> str:
    more = f" and {len(nodes) - 2} more" if len(nodes) > 3 else ""
    return ", ".join(nodes[:2] if more else nodes) + more
