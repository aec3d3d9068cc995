"""How important each unit of a group is; one module for each kind, one row for each in ``KINDS``.

A module has ``scores(evidence)``: for each group that it can say something of, a float64 number per unit, higher is
kept. Optimal brain surgeon has none: it weighs the units anew after each removal, while it eliminates them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from importlib import import_module
from typing import TYPE_CHECKING

from edgekit.passes.prune.scheme import ImportanceName

if TYPE_CHECKING:
    from edgekit.passes.prune.importance.evidence import Evidence, Order, Scores


class Needs(Enum):
    """What an importance is made of: the model alone, samples too, or also gradients (which need TensorFlow)."""

    WEIGHTS = auto()
    SAMPLES = auto()
    GRADIENTS = auto()


@dataclass(frozen=True, slots=True)
class Kind:
    """``module`` is in this package and loaded when it is used; None: chosen while eliminating."""

    module: str | None
    needs: Needs

    @property
    def needs_samples(self) -> bool:
        """Whether it says nothing without samples."""
        return self.needs is not Needs.WEIGHTS


KINDS: Mapping[ImportanceName, Kind] = {
    ImportanceName.OBS: Kind(None, Needs.SAMPLES),
    ImportanceName.ACTIVATION: Kind("activation", Needs.SAMPLES),
    ImportanceName.TAYLOR: Kind("taylor", Needs.GRADIENTS),
    ImportanceName.L1: Kind("l1", Needs.WEIGHTS),
    ImportanceName.L2: Kind("l2", Needs.WEIGHTS),
    ImportanceName.BN_SCALE: Kind("bn_scale", Needs.WEIGHTS),
    ImportanceName.RANDOM: Kind("random", Needs.WEIGHTS),
}


@dataclass(frozen=True, slots=True)
class Ranking:
    """In which order the units of each group go.

    ``orders``: by group, indices into its units, the first to go first. A group that is missing is ordered by optimal
    brain surgeon while its units are eliminated. ``by_norm``: groups of which the importance knew nothing, so that
    they are ordered by their weights' L2 norms.
    """

    orders: Mapping[str, "Order"]
    by_norm: tuple[str, ...] = ()


def rank(name: ImportanceName, evidence: "Evidence") -> Ranking:
    """The order in which an importance removes the units of all groups.

    Without samples an importance that needs them knows nothing. Raises DependencyError when gradients are needed and
    TensorFlow is not installed.
    """
    kind = KINDS[name]
    known: Mapping[str, Scores] = {}
    if evidence.samples is not None or not kind.needs_samples:
        if kind.module is None:
            return Ranking({})
        known = _scores(kind.module, evidence)
    unknown = tuple(group.name for group in evidence.channels.groups if group.name not in known)
    norms = _scores("l2", evidence) if unknown else {}
    # Of equal units the lowest index goes first.
    return Ranking({group: each.argsort(kind="stable") for group, each in {**norms, **known}.items()}, unknown)


def _scores(module: str, evidence: "Evidence") -> Mapping[str, "Scores"]:
    scores: Mapping[str, Scores] = import_module(f"{__name__}.{module}").scores(evidence)
    return scores
