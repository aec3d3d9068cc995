"""How much the loss would change without a unit, to first order.

Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning" (arXiv:1906.10771), equation 8: the square of
the sum over a unit of gradient times what it is the gradient of, added up over samples. Here that is what each consumer
reads of the unit, all positions together: a unit on a residual stream has several consumers, and each counts once. The
loss's labels are the network's own best classes: the distillation loss itself has no gradient where nothing is removed,
and the squares of these gradients are its curvature (empirical Fisher).
"""

import numpy as np
import onnx_ir as ir

from edgekit.graph.edit import GraphEditor
from edgekit.passes.prune.importance.evidence import Evidence, Scores, UnitSums
from edgekit.passes.prune.importance.sources import sources
from edgekit.passes.recover.gradients import gradients


def scores(evidence: Evidence) -> dict[str, Scores]:
    """Sums over the samples of the squared change of the loss.

    Raises DependencyError without TensorFlow, UnsupportedError for an operator without a gradient.
    """
    assert evidence.samples is not None
    sums = UnitSums(evidence.channels)
    read = list(sources(evidence, sums))
    model, edges = _with_edges(evidence.model, {(source.use.node, source.place[0]) for source in read})
    result = {source.group.name: np.zeros(len(source.group.units)) for source in read}
    for products in gradients(model, list(edges.values()), evidence.samples):
        changes = {name: np.zeros_like(each) for name, each in result.items()}
        for source in read:
            product = products[edges[source.use.node, source.place[0]]].astype(np.float64)
            others = tuple(axis for axis in range(product.ndim) if axis != source.place[1])
            changes[source.group.name] += sums.total(source.group, source.place, product.sum(axis=others))
        for name, change in changes.items():
            result[name] += change**2
    return result


def _with_edges(model: ir.Model, wanted: set[tuple[str, str]]) -> tuple[ir.Model, dict[tuple[str, str], str]]:
    """A clone where what a node reads has a name of its own, for each (node, value): an Identity is between them."""
    clone = model.clone()
    editor = GraphEditor(clone.graph)
    names = {}
    for node in list(clone.graph):
        for index, value in enumerate(node.inputs):
            edge = (node.name or "", "" if value is None else value.name or "")
            if value is not None and edge in wanted and edge not in names:
                output = editor.insert(node, "Identity", [value], like=value)
                node.replace_input_with(index, output)
                names[edge] = output.name or ""
    return clone, names
