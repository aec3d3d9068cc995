"""Norms of a unit's weights in every layer that has it: groups are scored as groups.

Fang et al. 2023, "DepGraph: Towards Any Structural Pruning" (arXiv:2301.12900), equation 5: the importances of all
parameters of a unit are added; here each layer's as shares of the layer's mean, since folded scales differ by orders.
"""

import numpy as np

from edgekit.graph.queries import constant_value
from edgekit.passes.prune.importance.evidence import Evidence, Scores, UnitSums, normalized, powers


def group_norms(evidence: Evidence, power: int) -> dict[str, Scores]:
    """Sums of ``|w| ** power`` over the weights with two axes and more (biases say nothing of size)."""
    sums = UnitSums(evidence.channels)
    initializers = evidence.model.graph.initializers
    result = {group.name: np.zeros(len(group.units)) for group in evidence.channels.groups}
    for place in evidence.channels.axes:
        weight = constant_value(initializers.get(place[0]))
        if weight is None or weight.ndim < 2:
            continue
        magnitudes = powers(weight, place[1], power)
        for group in sums.groups_at(place):
            result[group.name] += normalized(sums.total(group, place, magnitudes))
    return result
