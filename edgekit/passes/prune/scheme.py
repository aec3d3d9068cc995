"""What pruning is asked for: plain frozen data that a target profile and the settings can build without numpy."""

from dataclasses import dataclass
from enum import StrEnum


class ImportanceName(StrEnum):
    """How the channels to remove are chosen; see the modules of edgekit/passes/prune/importance/."""

    OBS = "obs"
    ACTIVATION = "activation"
    TAYLOR = "taylor"
    L1 = "l1"
    L2 = "l2"
    BN_SCALE = "bn-scale"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class PruningScheme:
    """How channels are removed.

    ``channel_multiple``: what is left of every group of channels is a multiple of it, as the target's kernels like it.
    ``strict``: without data, refuse what needs data instead of falling back with a warning.
    """

    channel_multiple: int = 8
    importance: ImportanceName = ImportanceName.OBS
    strict: bool = False
    seed: int = 0
