"""One function per ONNX operator, by family; importing this package fills the table."""

import edgekit.passes.prune.groups.rules.contraction
import edgekit.passes.prune.groups.rules.convolution
import edgekit.passes.prune.groups.rules.elementwise
import edgekit.passes.prune.groups.rules.indexing
import edgekit.passes.prune.groups.rules.normalization
import edgekit.passes.prune.groups.rules.pooling
import edgekit.passes.prune.groups.rules.reduction
import edgekit.passes.prune.groups.rules.shape  # noqa: F401
from edgekit.passes.prune.groups.rules.registry import RULES, Rule, rule

__all__ = ["RULES", "Rule", "rule"]
