"""Which importance can be used, and the orders of channels that it gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.passes.prune.build import Network, Orders
from edgekit.passes.prune.importance import KINDS, rank
from edgekit.passes.prune.importance.activation import shares
from edgekit.passes.prune.importance.evidence import Evidence, Scores
from edgekit.passes.prune.network import Sample
from edgekit.passes.prune.samples import LEAST_TO_FIT, evenly
from edgekit.passes.prune.scheme import ImportanceName, PruningScheme
from edgekit.passes.prune.surgeon import Unfitted

MOST_TAYLOR_SAMPLES = 256
"""Each needs a gradient of the whole network."""


def usable_importance(scheme: PruningScheme, samples: int, batch: int = 1) -> tuple[ImportanceName, list[str]]:
    """The scheme's importance, or L2 where it needs samples and there are too few; and what to tell of it.

    Each of ``samples`` is told as ``batch`` of the user's, which the model takes at once.
    Raises DataError instead when ``scheme.strict``.
    """
    if samples >= LEAST_TO_FIT:
        return scheme.importance, []
    needed = LEAST_TO_FIT * batch
    few = "there are none" if samples == 0 else f"{samples * batch} are too few ({needed} or more are needed)"
    if not KINDS[scheme.importance].needs_samples:
        return scheme.importance, [f"nothing was measured and nothing makes up for removed channels: of samples {few}"]
    if scheme.strict:
        raise DataError(
            f'importance "{scheme.importance}" needs calibration samples, and {few}; give --calibration PATH'
        )
    return ImportanceName.L2, [
        f'importance "{scheme.importance}" needs calibration samples, and {few}: fell back to "l2", the same share of '
        "all groups, and nothing that makes up for removed channels"
    ]


@dataclass(frozen=True, slots=True)
class Ranker:
    """Orders channels of one model; ``scales`` as in ``Evidence``."""

    network: Network
    importance: ImportanceName
    seed: int
    scales: Mapping[str, NDArray[np.float64]]

    @property
    def notes(self) -> list[str]:
        """What the importance could not say of this model."""
        if self.importance is not ImportanceName.BN_SCALE:
            return []
        found = rank(self.importance, Evidence(self.network.model, self.network.channels, None, self.scales, self.seed))
        count = len(found.by_norm)
        return [f'no BatchNormalization for {count} groups: ordered by "l2"'] if count else []

    def orders(self, samples: Sequence[Sample]) -> Orders:
        """Of the groups whose channels are not chosen while they are eliminated, as ``samples`` tell (if any)."""
        if self.importance is ImportanceName.TAYLOR:
            samples = evenly(samples, MOST_TAYLOR_SAMPLES)
        evidence = Evidence(self.network.model, self.network.channels, samples or None, self.scales, self.seed)
        if self.importance is not ImportanceName.OBS:
            return rank(self.importance, evidence).orders
        # Without second moments there is nothing to eliminate by.
        unfitted = [name for name, readers in self.network.readers.items() if not readers.fitted]
        found = rank(ImportanceName.ACTIVATION, evidence).orders if unfitted else {}
        return {
            **{name: Unfitted(each) for name, each in self._shares(evidence).items()},
            **{name: found[name] for name in unfitted},
        }

    def _shares(self, evidence: Evidence) -> Mapping[str, Scores]:
        """What consumers that cannot be fitted lose with each unit."""
        uses = {
            use
            for readers in self.network.readers.values()
            for use in readers.group.consumers
            if readers.fitted and use.node not in {layer.node.name for layer in readers.fitted}
        }
        return shares(evidence, uses) if uses and evidence.samples is not None else {}
