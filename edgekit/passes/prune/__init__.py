"""Structured channel pruning: remove whole channels where it costs least, and let the consumers make up for them.

    pruned = prune(canonical, samples, 0.25, scheme)   # 25 % of the multiply-accumulates

Importing the package, or its `scheme`, loads nothing heavy: target profiles are read without numpy.
"""

from typing import TYPE_CHECKING

from edgekit.lazy import lazy_names
from edgekit.passes.prune.scheme import ImportanceName, PruningScheme

if TYPE_CHECKING:
    from edgekit.passes.prune.groups import find_channel_groups
    from edgekit.passes.prune.pruning import Budget, Pruned, Pruner, prune
    from edgekit.passes.prune.report import PruningReport

__all__ = [
    "Budget",
    "ImportanceName",
    "Pruned",
    "Pruner",
    "PruningReport",
    "PruningScheme",
    "find_channel_groups",
    "prune",
]

__getattr__ = lazy_names(
    __name__,
    {
        "find_channel_groups": "groups",
        "Budget": "pruning",
        "Pruned": "pruning",
        "Pruner": "pruning",
        "prune": "pruning",
        "PruningReport": "report",
    },
)
