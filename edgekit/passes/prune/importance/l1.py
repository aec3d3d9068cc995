"""L1 norm of a unit's weights: Li et al. 2017, "Pruning Filters for Efficient ConvNets" (arXiv:1608.08710)."""

from edgekit.passes.prune.importance.evidence import Evidence, Scores
from edgekit.passes.prune.importance.norms import group_norms


def scores(evidence: Evidence) -> dict[str, Scores]:
    """Sums of magnitudes."""
    return group_norms(evidence, 1)
