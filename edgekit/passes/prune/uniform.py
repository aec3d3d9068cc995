"""Without samples nothing can be measured: every group loses the same share of its channels."""

from collections.abc import Callable, Sequence

from edgekit.passes.prune.groups import ChannelGroup
from edgekit.passes.prune.options import is_stream, nearest_units
from edgekit.passes.prune.selection import Selection

_STEPS = 256


def uniform(
    groups: Sequence[ChannelGroup], channel_multiple: int, cost: Callable[[Selection], float], limit: float
) -> Selection | None:
    """The smallest equal share that costs at most ``limit``: of groups inside blocks, then of residual streams too.

    None when no share does.
    """
    for chosen in ([group for group in groups if not is_stream(group)], groups):
        for step in range(1, _STEPS + 1):
            kept = {group.name: nearest_units(group, 1 - step / _STEPS, channel_multiple) for group in chosen}
            sizes = {group.name: len(group.units) for group in chosen}
            selection = Selection({name: count for name, count in kept.items() if count < sizes[name]})
            if cost(selection) <= limit:
                return selection
    return None
