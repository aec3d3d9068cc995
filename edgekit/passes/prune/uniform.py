"""Without samples nothing can be measured: every group loses the same share of its channels."""

from collections.abc import Callable

from edgekit.passes.prune.groups import ChannelGroups
from edgekit.passes.prune.options import is_stream, steps
from edgekit.passes.prune.selection import Selection

_STEPS = 256


def uniform(
    groups: ChannelGroups, channel_multiple: int, cost: Callable[[Selection], float], limit: float
) -> Selection | None:
    """The smallest equal share that costs at most ``limit``: of groups inside blocks, then of residual streams too.

    Of its last step, which many groups take at once where a multiple is much of a group, only what is needed. None when
    no share does.
    """
    allowed = {group.name: steps(groups, group, channel_multiple) for group in groups.groups}
    for chosen in ([group.name for group in groups.groups if not is_stream(group)], list(allowed)):
        before = Selection()
        for step in range(1, _STEPS + 1):
            kept = {name: allowed[name].nearest(1 - step / _STEPS) for name in chosen}
            selection = Selection({name: count for name, count in kept.items() if count < allowed[name].units})
            if cost(selection) <= limit:
                return _needed(before, selection, cost, limit)
            before = selection
    return None


def _needed(before: Selection, after: Selection, cost: Callable[[Selection], float], limit: float) -> Selection:
    """``after``, but groups have again what they had ``before``, those that save most first, while ``limit`` is met."""

    def undone(selection: Selection, name: str) -> Selection:
        others = {group: count for group, count in selection.kept.items() if group != name}
        return Selection(others | {name: before.kept[name]} if name in before.kept else others)

    changed = [name for name, count in after.kept.items() if before.kept.get(name) != count]
    selection = after
    for name in sorted(changed, key=lambda name: -cost(undone(after, name))):
        if cost(undone(selection, name)) <= limit:
            selection = undone(selection, name)
    return selection
