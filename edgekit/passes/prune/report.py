"""What pruning did, as plain data for the table and the manifest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class GroupReport:
    """``before`` and ``after`` are channels of the first layer that makes them.

    ``loss`` is what removing them alone adds, on samples that the fit has not seen; None where nothing was removed or
    measured. Groups in a branch that is ``dropped`` have ``after`` 0 and no loss of their own: BranchReport has the
    whole branch's.
    """

    name: str
    before: int
    after: int
    loss: float | None
    dropped: bool = False

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "name": self.name,
            "before": self.before,
            "after": self.after,
            "loss": _not_negative(self.loss),
            "dropped": self.dropped,
        }


@dataclass(frozen=True, slots=True)
class BranchReport:
    """A residual branch that is gone: the sum ``add`` is now its other term. ``loss`` is what this alone adds."""

    name: str
    add: str
    loss: float | None

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"name": self.name, "add": self.add, "loss": _not_negative(self.loss)}


@dataclass(frozen=True, slots=True)
class Wider:
    """A network with back what the budget had room for, which lost more ``than`` the one that was taken.

    Both losses are those of networks as they were built, before the choice of compensation.
    """

    macs: int
    loss: float
    than: float

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"macs": self.macs, "loss": _not_negative(self.loss), "than": _not_negative(self.than)}


@dataclass(frozen=True, slots=True)
class PruningReport:
    """``loss``: measured on samples that the fit has not seen (cross-fit), None without data; ``loss_name``: its kind.

    It is slightly optimistic: the search, the second look and the choice of compensation all went by these samples.
    ``whole``: groups that were left whole, with reasons. ``notes``: sentences that the user should read. ``branches``:
    those that were dropped. ``wider``: what was built and not taken, None where nothing was.
    """

    importance: str
    macs_before: int
    macs_after: int
    parameters_before: int
    parameters_after: int
    loss: float | None
    loss_name: str
    compensation: str
    groups: Sequence[GroupReport]
    whole: Sequence[tuple[str, int, str]]
    notes: Sequence[str] = ()
    branches: Sequence[BranchReport] = ()
    wider: Wider | None = None

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "importance": self.importance,
            "macs_before": self.macs_before,
            "macs_after": self.macs_after,
            "parameters_before": self.parameters_before,
            "parameters_after": self.parameters_after,
            "loss": _not_negative(self.loss),
            "loss_name": self.loss_name,
            "compensation": self.compensation,
            "groups": [group.to_json() for group in self.groups],
            "branches": [branch.to_json() for branch in self.branches],
            "whole": [{"node": node, "channels": channels, "reason": reason} for node, channels, reason in self.whole],
            "notes": list(self.notes),
            "wider": None if self.wider is None else self.wider.to_json(),
        }


def _not_negative(loss: float | None) -> float | None:
    """A divergence is at least 0: what is below is rounding."""
    return None if loss is None else max(0.0, loss)
