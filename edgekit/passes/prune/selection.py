"""How much is removed where: what a search decides and everything else carries out."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Selection:
    """``kept``: units kept by group name, for the groups that lose some. ``dropped``: names of whole branches."""

    kept: Mapping[str, int] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
