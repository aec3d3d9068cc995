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

    None when no share does.
    """
    allowed = {group.name: steps(groups, group, channel_multiple) for group in groups.groups}
    for chosen in ([group.name for group in groups.groups if not is_stream(group)], list(allowed)):
        for step in range(1, _STEPS + 1):
            kept = {name: allowed[name].nearest(1 - step / _STEPS) for name in chosen}
            selection = Selection({name: count for name, count in kept.items() if count < allowed[name].units})
            if cost(selection) <= limit:
                return selection
    return None
