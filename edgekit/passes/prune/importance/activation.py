"""What a unit sends to the layers behind it: the energy of its activations times that of the weights they meet.

Sun et al. 2023, "A Simple and Effective Pruning Approach for Large Language Models" (Wanda, arXiv:2306.11695),
equation 1, squared and summed over a unit's weights: E[a²] |w|² is what the outputs' energy would lose if units were
uncorrelated and had no mean.
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from edgekit.graph.queries import constant_value
from edgekit.passes.prune.groups.channels import WeightUse
from edgekit.passes.prune.importance.evidence import Evidence, Place, Scores, UnitSums, normalized, powers
from edgekit.passes.prune.importance.sources import Source, sources
from edgekit.passes.prune.network import activations


def scores(evidence: Evidence) -> dict[str, Scores]:
    """Sums over a group's consumers, each as shares of its mean."""
    sums = UnitSums(evidence.channels)
    read = list(sources(evidence, sums))
    energies = _energies(evidence, {source.place for source in read})
    result: dict[str, Scores] = {}
    for source in read:
        sent = sums.mean(source.group, source.place, energies[source.place])
        met = sums.total(source.group, source.weight, _met(evidence, source))
        result[source.group.name] = result.get(source.group.name, 0.0) + normalized(sent * met)
    return result


def shares(evidence: Evidence, uses: Collection[WeightUse]) -> dict[str, Scores]:
    """Of each group that these of its consumers read: what their outputs' energy would lose, summed over them.

    As shares of what all that they read sends them.
    """
    sums = UnitSums(evidence.channels)
    read = [source for source in sources(evidence, sums) if source.use in uses]
    energies = _energies(evidence, {source.place for source in read}) if read else {}
    result: dict[str, Scores] = {}
    for source in read:
        sent, met = energies[source.place], _met(evidence, source)
        whole = sums.products(source.place, sent, source.weight, met).sum()
        ours = sums.mean(source.group, source.place, sent) * sums.total(source.group, source.weight, met)
        result[source.group.name] = result.get(source.group.name, 0.0) + (ours / whole if whole > 0 else ours)
    return result


def _met(evidence: Evidence, source: Source) -> NDArray[np.float64]:
    """Sums of |w|² per index of the axis that the weight is read along."""
    weight = constant_value(evidence.model.graph.initializers[source.use.weight])
    assert weight is not None
    return powers(weight, source.use.axis, 2)


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
