"""What a unit sends to the layers behind it: the energy of its activations times that of the weights they meet.

Sun et al. 2023, "A Simple and Effective Pruning Approach for Large Language Models" (Wanda, arXiv:2306.11695),
equation 1, squared and summed over a unit's weights: E[a²] |w|² is what the outputs' energy would lose if units were
uncorrelated and had no mean.
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from edgekit.graph.queries import constant_value
from edgekit.passes.prune.importance.evidence import Evidence, Place, Scores, UnitSums, normalized, powers
from edgekit.passes.prune.importance.sources import sources
from edgekit.passes.prune.network import activations


def scores(evidence: Evidence) -> dict[str, Scores]:
    """Sums over a group's consumers, each as shares of its mean."""
    sums = UnitSums(evidence.channels)
    read = list(sources(evidence, sums))
    energies = _energies(evidence, {source.place for source in read})
    result: dict[str, Scores] = {}
    for source in read:
        weight = constant_value(evidence.model.graph.initializers[source.use.weight])
        assert weight is not None
        sent = sums.mean(source.group, source.place, energies[source.place])
        met = sums.total(source.group, source.weight, powers(weight, source.use.axis, 2))
        result[source.group.name] = result.get(source.group.name, 0.0) + normalized(sent * met)
    return result


def _energies(evidence: Evidence, places: Collection[Place]) -> dict[Place, NDArray[np.float64]]:
    """Sums of a² per index of an axis of a value, over all samples and positions."""
    assert evidence.samples is not None
    names = sorted({name for name, _ in places})
    totals = {place: np.zeros(len(evidence.channels.axes[place])) for place in places}
    for arrays in activations(evidence.model, names, evidence.samples):
        by_name = dict(zip(names, arrays, strict=True))
        for name, axis in places:
            totals[name, axis] += powers(by_name[name], axis, 2)
    return totals
