"""From settled labels to numbered units and their groups."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.passes.prune.groups.atoms import Labels
from edgekit.passes.prune.groups.channels import ChannelGroup, ChannelGroups, Units, WeightUse, WholeChannels
from edgekit.passes.prune.groups.settling import settled_axes
from edgekit.passes.prune.groups.tracking import Tracker

Key = tuple[str, int]
_ALONE = "all of its channels could only be removed together"


def gather(tracker: Tracker) -> ChannelGroups:
    """The result of a walk that has settled."""
    labels = {(value.name or "", axis): line for (value, axis), line in settled_axes(tracker).items()}
    roots = {key: tracker.atoms.roots(line) for key, line in labels.items()}
    reasons, sentences = tracker.atoms.reasons()
    free = _made(roots, tracker.producers, len(reasons)) & (reasons < 0)
    parts = _parts(roots, free)
    alone = free & (np.bincount(parts, minlength=parts.max(initial=0) + 1)[parts] == 1)
    free &= ~alone
    numbers = np.where(free, np.cumsum(free) - 1, -1)
    numbered = {key: numbers[line] for key, line in roots.items()}
    axes = {key: units for key, units in numbered.items() if (units >= 0).any()}
    groups = _groups(axes, parts[free], tracker.producers, tracker.consumers)
    told = np.where(reasons < 0, len(sentences), reasons)
    whole = _whole(tracker.producers, roots, numbers, told, [*sentences, _ALONE])
    return ChannelGroups(axes, int(free.sum()), groups, whole, frozenset(tracker.unzeroed & {name for name, _ in axes}))


def _made(roots: Mapping[Key, Labels], producers: Sequence[WeightUse], count: int) -> NDArray[np.bool_]:
    """Which roots some weight makes; channels that are all constants are never removed."""
    made = np.zeros(count, dtype=np.bool_)
    for use in producers:
        if (use.weight, use.axis) in roots:
            made[roots[use.weight, use.axis]] = True
    return made


def _parts(roots: Mapping[Key, Labels], free: NDArray[np.bool_]) -> NDArray[np.intp]:
    """A number for every free root: equal where two occur equally often along the same axes; 0 for the others."""
    part = free.astype(np.intp)
    following = 2
    # An activation's output has the labels of its input: nothing new.
    for line in {line.tobytes(): line for line in roots.values()}.values():
        touched, occurrences = np.unique(line[free[line]], return_counts=True)
        if touched.size:
            pairs = np.stack([part[touched], occurrences], axis=1)
            _, inverse = np.unique(pairs, axis=0, return_inverse=True)
            part[touched] = following + inverse.reshape(-1)
            following = int(part[touched].max()) + 1
    return part


def _groups(
    axes: Mapping[Key, Units], parts: NDArray[np.intp], producers: Sequence[WeightUse], consumers: Sequence[WeightUse]
) -> tuple[ChannelGroup, ...]:
    made, read = _uses_by_part(axes, parts, producers), _uses_by_part(axes, parts, consumers)
    names: Counter[str] = Counter()
    groups = []
    for part, uses in made.items():
        units = axes[uses[0].weight, uses[0].axis]
        inside = units[(units >= 0) & (parts[units] == part)]
        _, first = np.unique(inside, return_index=True)
        names[uses[0].node] += 1
        number = names[uses[0].node]
        name = uses[0].node if number == 1 else f"{uses[0].node}#{number}"
        ordered = tuple(int(unit) for unit in inside[np.sort(first)])
        groups.append(ChannelGroup(name, ordered, len(inside), tuple(uses), tuple(read.get(part, ()))))
    return tuple(groups)


def _uses_by_part(
    axes: Mapping[Key, Units], parts: NDArray[np.intp], uses: Sequence[WeightUse]
) -> dict[int, list[WeightUse]]:
    """In the graph's order, and within one weight in that of its channels."""
    result: dict[int, list[WeightUse]] = {}
    for use in uses:
        units = axes.get((use.weight, use.axis))
        if units is None:
            continue
        found, first = np.unique(parts[units[units >= 0]], return_index=True)
        for part in found[np.argsort(first)]:
            result.setdefault(int(part), []).append(use)
    return result


def _whole(
    producers: Sequence[WeightUse],
    roots: Mapping[Key, Labels],
    numbers: NDArray[np.intp],
    told: NDArray[np.intp],
    sentences: Sequence[str],
) -> tuple[WholeChannels, ...]:
    result = []
    for use in producers:
        line = roots.get((use.weight, use.axis))
        if line is None:
            continue
        kept = told[line[numbers[line] < 0]]
        found, counts = np.unique(kept, return_counts=True)
        result += [
            WholeChannels(use.node, int(count), sentences[reason]) for reason, count in zip(found, counts, strict=True)
        ]
    return tuple(result)
