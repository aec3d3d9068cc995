"""Which delegate took how many operations, as TFLite prints it: how a silent fallback to the CPU shows."""

import re
from dataclasses import dataclass, replace

# "Replacing 58 out of 58 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions for subgraph 0."
# Older: "for the whole graph", then nothing; oldest: "Replacing 58 node(s) with …".
_REPLACING = re.compile(
    r"Replacing (?P<taken>\d+)(?: out of (?P<total>\d+))? node\(s\) with delegate \((?P<kernel>[^)]*)\) node, "
    r"yielding (?P<partitions>\d+) partitions(?P<where>[^.\n]*)"
)
# Oldest: "will be completely executed by the delegate", by one kernel then.
_APPLIED = re.compile(
    r"Explicitly applied (?P<name>\S+) delegate, .* executed(?:.* w/ (?P<kernels>\d+) delegate kernels)?"
)
_NOT_APPLIED = re.compile(r"Though (?P<name>\S+) delegate is explicitly applied, the model graph will not be executed")

# Of the names of kernels (TfLiteGpuDelegateV2) and of delegates (GPU).
_NAMES = {"xnnpack": ("xnnpack",), "gpu": ("gpu", "litert_cl", "opencl"), "nnapi": ("nnapi",)}


@dataclass(frozen=True, slots=True)
class DelegatedOps:
    """What the delegate that was asked for took; None is what the output does not tell."""

    accelerated_ops: int | None = None
    total_ops: int | None = None
    partitions: int | None = None


def parse_delegation(text: str, delegate: str | None) -> DelegatedOps:
    """What ``delegate`` took, over all subgraphs. Another one (XNNPACK beside a GPU delegate) does not count."""
    names = _NAMES.get(delegate or "", ())
    taken = _replaced(text, names)
    if any(_is_called(match["name"], names) for match in _NOT_APPLIED.finditer(text)):
        # NNAPI first replaces nodes, then finds that no accelerator takes them.
        return DelegatedOps(0, taken.total_ops, 0)
    if taken.accelerated_ops is None:
        kernels = [int(match["kernels"] or 1) for match in _APPLIED.finditer(text) if _is_called(match["name"], names)]
        return replace(taken, partitions=sum(kernels) if kernels else None)
    return taken


def _replaced(text: str, names: tuple[str, ...]) -> DelegatedOps:
    originals: dict[str, int | None] = {}  # what a subgraph had before the first delegate
    mine: dict[str, tuple[int, int | None, int]] = {}
    for match in _REPLACING.finditer(text):
        total = int(match["total"]) if match["total"] else None
        subgraph, is_mine = match["where"], _is_called(match["kernel"], names)
        if is_mine and subgraph in mine and "subgraph" not in subgraph and originals[subgraph] != total:
            subgraph = f"{subgraph} {total}"  # unnamed, and with another number of operations: another subgraph
        original = originals.setdefault(subgraph, total)
        if is_mine:
            # The same once more: the tensors were resized, and the delegate applied again.
            mine[subgraph] = int(match["taken"]), original, int(match["partitions"])
    known = [total for total in originals.values() if total is not None]
    if not mine:
        return DelegatedOps(total_ops=sum(known) if known else None)
    totals = [total for _, total, _ in mine.values() if total is not None]
    return DelegatedOps(
        accelerated_ops=sum(taken for taken, _, _ in mine.values()),
        total_ops=sum(totals) if len(totals) == len(mine) else None,
        partitions=sum(partitions for _, _, partitions in mine.values()),
    )


def _is_called(name: str, names: tuple[str, ...]) -> bool:
    return any(each in name.lower() for each in names)
