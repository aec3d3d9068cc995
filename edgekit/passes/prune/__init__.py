"""Structured channel pruning: remove whole channels where it costs least, and let the consumers make up for them.

    pruned = prune(canonical, samples, 0.25, scheme)   # 25 % of the multiply-accumulates

Importing the package, or its `scheme`, loads nothing heavy: target profiles are read without numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_HOME = {
    "find_channel_groups": "groups",
    "Budget": "pruning",
    "Pruned": "pruning",
    "Pruner": "pruning",
    "prune": "pruning",
    "PruningReport": "report",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
