"""Squared L2 norm of a unit's weights: Fang et al. 2023, "DepGraph" (arXiv:2301.12900), equation 5."""

from edgekit.passes.prune.importance.evidence import Evidence, Scores
from edgekit.passes.prune.importance.norms import group_norms


def scores(evidence: Evidence) -> dict[str, Scores]:
    """Sums of squares."""
    return group_norms(evidence, 2)
