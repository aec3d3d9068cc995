"""Closed-form re-fits: a layer's weights and bias so that it gives what the float network's layer gives.

Asymmetric: the inputs are those of the pruned network, the targets are the float network's. With G = E[a aᵀ] and
R = E[a tᵀ], ``W' = W + (R - G Wᵀ)ᵀ (G + λ mean(diag G) I)⁻¹`` is the ridge solution drawn towards W: He et al. 2017,
"Channel Pruning for Accelerating Very Deep Neural Networks" (arXiv:1707.06168), its reconstruction, with the targets
of Zhang et al. 2015 (arXiv:1505.06798), "asymmetric reconstruction for multi-layer".

One layer of a sequential pass, whose collector = Collector(model, samples) runs nothing twice:

    moments = collector.collect(weights, [node.name], targets=True)[node.name]
    matrix = ridge(weight_matrix(node, weights), moments, damping)
    weights |= weights_of_matrix(node, matrix)
"""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.queries import constant_value
from edgekit.passes.prune.collecting import Collector, batches
from edgekit.passes.prune.layers import Layer, layer_of
from edgekit.passes.prune.moments import InputMoments, supports_moments
from edgekit.passes.prune.network import Array, Sample, Weights, reached, read_by

Matrix = NDArray[np.float64]
Solve = Callable[[Matrix, InputMoments], Matrix]
"""A layer's matrix [blocks, outputs per block, columns + 1] and its moments with targets to a new matrix."""

DAMPING = 1e-3
"""Share of the mean diagonal of G; for ResNet-8 and 1,024 images."""

_BIAS_DAMPING = 1e-3
"""A bias is damped this much less than the weights."""


def ridge(matrix: Matrix, moments: InputMoments, damping: float = DAMPING) -> Matrix:
    """The matrix [blocks, outputs per block, columns + 1] nearest the targets of ``moments``, drawn towards ``matrix``.

    What is zero stays zero: columns that are zero in all outputs of a block (removed inputs), and outputs whose row and
    bias are all zero (removed, or a dropped branch). ``damping`` > 0.
    """
    gram, cross = moments.gram, moments.cross
    assert cross is not None
    # A removed column neither gives nor takes anything: its equation is x = 0.
    held = np.asarray(~matrix.any(axis=1))
    held[:, -1] = moments.layer.bias is None
    residual = cross - gram @ matrix.transpose(0, 2, 1)
    residual[held] = 0
    system = np.where(held[:, :, None] | held[:, None, :], 0.0, gram)
    diagonal = np.einsum("bii->bi", system)
    # Inputs that are always 0 leave nothing to solve: any positive number will do.
    mean = diagonal[:, :-1].sum(axis=1) / np.maximum((~held[:, :-1]).sum(axis=1), 1)
    extra = np.repeat(damping * np.where(mean > 0, mean, 1.0)[:, None], matrix.shape[2], axis=1)
    extra[:, -1] *= _BIAS_DAMPING
    diagonal += np.where(held, 1.0, extra)
    change = np.linalg.solve(system, residual).transpose(0, 2, 1)
    return np.asarray(matrix + np.where(matrix.any(axis=2, keepdims=True), change, 0.0))


def refit_all(
    model: ir.Model,
    weights: Weights,
    samples: Iterable[Sample],
    *,
    damping: float = DAMPING,
    advance: Callable[[int], None] = lambda done: None,
) -> dict[str, Array]:
    """The ``weights`` of a pruned network with every layer re-fitted that differs from the float network's.

    A layer differs when its input or its own weights do.

    Args:
        model: the float network (canonical, full size).
        weights: of the pruned one, at full shape, by initializer name: removed columns are zero.
        samples: iterable more than once.
        damping: as in ``ridge``.
        advance: called with the number of layers done.

    In the graph's order, each on the layers re-fitted before it. Layers whose weight or bias another node shares, and
    those that ``supports_moments`` refuses, stay as they are.
    """
    return solve_all(model, weights, samples, partial(ridge, damping=damping), advance)


def solve_all(
    model: ir.Model, weights: Weights, samples: Iterable[Sample], solve: Solve, advance: Callable[[int], None]
) -> dict[str, Array]:
    """The ``weights`` with the matrix of every layer that differs from the float network's replaced by ``solve``'s.

    In the graph's order, each on the layers solved before it; ``advance`` is called with the number of layers done.
    """
    current = dict(weights)
    collector, done = Collector(model, samples), 0
    for batch in batches(changed_layers(model, weights)):
        names = [layer.node.name or "" for layer in batch]
        moments = collector.collect(current, names, targets=True)
        for layer, name in zip(batch, names, strict=True):
            current |= layer.weights(solve(layer.matrix(current), moments.pop(name)))
        done += len(batch)
        advance(done)
    return current


def changed_layers(model: ir.Model, weights: Weights) -> list[Layer]:
    """The layers that can be re-fitted and whose input or own weights differ from those of ``model``, in order.

    Without those whose output is multiplied by zeros only, as in a dropped branch.
    """
    replaced = {name for name, array in weights.items() if not np.array_equal(array, _own(model, name))}
    users = {use.node.name or "" for name in replaced for use in model.graph.initializers[name].uses()}
    needed = _needed(model, weights)
    layers = (layer_of(node) for node in reached(model.graph, users) if node in needed and supports_moments(node))
    return [layer for layer in layers if layer is not None and not layer.shares]


def _needed(model: ir.Model, weights: Weights) -> set[ir.Node]:
    """The nodes on which the outputs depend, when what is multiplied by zeros only does not count."""
    values = set(model.graph.outputs)
    nodes = set()
    for node in reversed(model.graph):
        if not values.intersection(node.outputs):
            continue
        layer = layer_of(node)
        if layer is not None and not layer.matrix(weights)[..., :-1].any():
            continue
        nodes.add(node)
        values.update(read_by(node))
    return nodes


def _own(model: ir.Model, name: str) -> Array:
    array = constant_value(model.graph.initializers[name])
    assert array is not None
    return array
