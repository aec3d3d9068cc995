"""Scales of the BatchNormalizations that a unit passes: Liu et al. 2017, "Network Slimming" (arXiv:1708.06519)."""

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.queries import constant_value, is_op
from edgekit.passes.prune.importance.evidence import Evidence, Scores, UnitSums, normalized


def batch_norm_scales(imported: ir.Model) -> dict[str, NDArray[np.float64]]:
    """|gamma| [channels] of each BatchNormalization, by the name of its output.

    ``imported``: the model as it was imported; canonicalization folds these nodes into the layers before or behind
    them, but what then gives their output keeps its name.
    """
    found = {}
    for node in imported.graph:
        scale = constant_value(node.inputs[1]) if is_op(node, "BatchNormalization") else None
        if scale is not None:
            found[node.outputs[0].name or ""] = np.abs(scale.astype(np.float64))
    return found


def scores(evidence: Evidence) -> dict[str, Scores]:
    """Sums over a group's BatchNormalizations, each as shares of its mean; groups that pass none are left out."""
    sums = UnitSums(evidence.channels)
    result: dict[str, Scores] = {}
    for place, labels in evidence.channels.axes.items():
        name, axis = place
        scale = evidence.scales.get(name)
        if scale is None or axis != 1 or len(scale) != len(labels):
            continue
        for group in sums.groups_at(place):
            added = normalized(sums.total(group, place, scale))
            result[group.name] = result.get(group.name, 0.0) + added
    return result
