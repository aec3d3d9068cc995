"""What pruning did: the groups that changed, the artifacts before and after, and what the user should know."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from edgekit.console.narrow import print_table
from edgekit.console.terminal import new_table, spell_number

_PAIRED = (
    "median: of the sessions; ratio: the median of the sessions' own ratios, as each times both in turn, "
    "and so not the quotient of the two medians"
)


def show_pruning(console: Console, pruning: Mapping[str, Any]) -> None:
    """``pruning`` is the manifest's."""
    report = pruning["report"]
    if report is not None:
        _show_groups(console, report)
        for line in _totals(pruning):
            console.print(line, markup=False, soft_wrap=True)
        _show_artifacts(console, pruning["artifacts"])
    for note in pruning["notes"]:
        console.print(note, markup=False, soft_wrap=True)


def _show_groups(console: Console, report: Mapping[str, Any]) -> None:
    narrower = [each for each in report["groups"] if each["after"] != each["before"] and not each["dropped"]]
    alone = (f"#{report['loss_name']} alone",) if report["loss"] is not None else ()
    if narrower:
        table = new_table("channels of", "#before", "#after", *alone)
        for group in narrower:
            numbers = f"{group['before']:,}", f"{group['after']:,}"
            table.add_row(group["name"], *numbers, *(_spell_loss(group["loss"]) for _ in alone))
        print_table(console, table)
    if report["branches"]:
        table = new_table("dropped branch", "added at", *alone)
        for branch in report["branches"]:
            table.add_row(branch["name"], branch["add"], *(_spell_loss(branch["loss"]) for _ in alone))
        print_table(console, table)


def _totals(pruning: Mapping[str, Any]) -> Iterator[str]:
    report = pruning["report"]
    yield (
        f"pruned by {report['importance']}: MACs {_change(report['macs_before'], report['macs_after'])}, "
        f"parameters {_change(report['parameters_before'], report['parameters_after'])}"
    )
    if report["loss"] is not None:
        held_out = (
            f"{report['loss_name']} {_spell_loss(report['loss'])} (cross-fit: on samples that the fit has not seen)"
        )
        yield f"in float, against the source: {held_out}; compensation: {report['compensation']}"
    if report["whole"]:
        channels = sum(entry["channels"] for entry in report["whole"])
        whole = f"{channels:,} channels of {len(report['whole']):,} operators"
        yield f"left whole: {whole} (edgekit inspect --channels says why)"
    if pruning["recovery"] is not None:
        yield _recovery(pruning["recovery"])
    seen = pruning["float"]
    accuracy = [f"top-1 {seen['top1']:.2f} %"] if "top1" in seen else []
    if seen["top1_agreement"] is not None:
        accuracy.append(f"top-1 agreement {seen['top1_agreement']:.2f} %")
    accuracy.append(f"SQNR {seen['sqnr_db']:.1f} dB")
    yield f"pruned, still in float: {', '.join(accuracy)}"


def _recovery(report: Mapping[str, Any]) -> str:
    count = report["held_back_samples"]
    held_back = f"{report['loss_name']} on {count} samples that were held back from fit and training"
    if not report["improved"]:
        return f"recovery found nothing better than the start ({held_back}: {_spell_loss(report['start_loss'])})"
    losses = f"{held_back}: {_spell_loss(report['start_loss'])} -> {_spell_loss(report['best_loss'])}"
    steps = f"{report['steps']:,} of {report['planned_steps']:,} planned steps"
    best = ", the best in a trial of a learning rate" if report["from_trial"] else ""
    return f"recovered; {losses}; ended after {steps}: {report['stopped']}{best}"


def _show_artifacts(console: Console, artifacts: list[Mapping[str, Any]]) -> None:
    both = [figures for artifact in artifacts for figures in (artifact["before"], artifact["after"])]
    shown = [key for key in ("top1", "top1_agreement") if any(key in figures for figures in both)] or ["sqnr_db"]
    shown += ["median_ms"] if any("median_ms" in figures for figures in both) else []
    names = {"top1": "#top-1 %", "top1_agreement": "#agreement %", "sqnr_db": "#SQNR dB", "median_ms": "#median"}
    ratio = ("#ratio (paired)", "95 %") if "median_ms" in shown else ()
    table = new_table("artifact", "", "#KiB", *(names[key] for key in shown), *ratio)
    for artifact in artifacts:
        before, after = artifact["before"], artifact["after"]
        table.add_row(artifact["path"], "unpruned", *_figures(before, shown))
        table.add_row("", "pruned", *_figures(after, shown), *(_spell_ratio(artifact) if ratio else ()))
    print_table(console, table)
    if ratio:
        console.print(_PAIRED, markup=False, soft_wrap=True)


def _figures(figures: Mapping[str, Any], shown: list[str]) -> Iterator[str]:
    yield f"{figures['bytes'] / 1024:,.1f}"
    for key in shown:
        value = figures.get(key)
        yield spell_time(value) if key == "median_ms" else spell_number(value, 1 if key == "sqnr_db" else 2)


def spell_time(ms: float | None) -> str:
    """Three digits that count: ``35.5 µs``, ``1.93 ms``."""
    if ms is None:
        return ""
    value, unit = (ms, "ms") if float(f"{ms:.3g}") >= 1 else (1000 * ms, "µs")
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:#.3g}".rstrip(".") + f" {unit}"


def _spell_ratio(artifact: Mapping[str, Any]) -> tuple[str, str]:
    interval = artifact.get("latency_ratio_ci")
    spelt = "" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"
    return spell_number(artifact.get("latency_ratio")), spelt


def _spell_loss(loss: float | None) -> str:
    return "" if loss is None else f"{max(0.0, loss):.3g}"


def _change(before: int, after: int) -> str:
    return f"{before:,} -> {after:,} (-{100 * (before - after) / before:.1f} %)"
