"""Gradients of the model's own confidence, for first-order importance.

A channel whose activation is set to 0 changes the loss by about -(gradient x activation): Molchanov et al. 2017,
"Pruning Convolutional Neural Networks for Resource Efficient Inference" (arXiv:1611.06440), equation 7.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.graph.queries import shape_of
from edgekit.passes.recover.activation import Activation, Tensor
from edgekit.passes.recover.network import Network
from edgekit.passes.recover.outputs import Outputs, find_outputs

Sample = Mapping[str, NDArray[Any]]

_BYTES = 1 << 28
"""Of activations at once."""


def gradients(
    model: ir.Model, value_names: Sequence[str], samples: Iterable[Sample]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """For each sample, by value name, the gradient of the loss with respect to the value, times the value.

    The loss needs no labels: -log of the probability of the class that the model itself finds likeliest; for what is
    no classifier, half the sum of squares of the outputs. Arrays have the values' shapes in the graph. Samples are read
    once, several at a time.

    Raises:
        UnsupportedError: an operator without a gradient here; the message names the node.
        DependencyError: TensorFlow is not installed.
        DataError: a value name that is not in the model.
    """
    values = {value.name: value for node in model.graph for value in node.outputs}
    values |= {value.name: value for value in model.graph.inputs}
    for name in value_names:
        if name not in values:
            raise DataError(f"value '{name}': not in the model {model.graph.name!r}; expected a value of its graph")
    return _gradients(Network(model, "gradients"), list(value_names), samples)


def _gradients(network: Network, names: list[str], samples: Iterable[Sample]) -> Iterator[dict[str, Any]]:
    tf, outputs = network.tf, find_outputs(network.model)
    inputs = [value.name or "" for value in network.model.graph.inputs]

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def products(batch: dict[str, Tensor]) -> list[Tensor]:
        return _products(network, names, outputs, batch)

    iterator, size = iter(samples), _batch_size(network.model)
    while group := list(islice(iterator, size)):
        batch = {name: tf.constant(np.stack([sample[name] for sample in group])) for name in inputs}
        found = [product.numpy() for product in products(batch)]
        for index in range(len(group)):
            yield {name: product[index] for name, product in zip(names, found, strict=True)}


def _products(network: Network, names: list[str], outputs: Outputs, batch: dict[str, Tensor]) -> list[Tensor]:
    tf, watched = network.tf, {}

    with tf.GradientTape(watch_accessed_variables=False) as tape:

        def watch(value: ir.Value, activation: Activation) -> Activation:
            if (value.name or "") not in names:
                return activation
            tensor = tf.identity(activation.native)
            tape.watch(tensor)
            watched[value.name or ""] = activation.like(tensor)
            return watched[value.name or ""]

        results = network.compute(batch, [*outputs.names, *names], watch)
        loss = _confidence_loss(tf, outputs, results)
    taken = [watched[name] for name in names]
    found = tape.gradient(loss, [value.native for value in taken], unconnected_gradients="zero")
    return [value.like(value.native * gradient).plain for value, gradient in zip(taken, found, strict=True)]


def _confidence_loss(tf: Any, outputs: Outputs, results: Sequence[Activation]) -> Tensor:
    if outputs.logits is None:
        return sum(tf.reduce_sum(tf.square(value.plain)) / 2 for value in results[: len(outputs.others)])
    logits = results[0].plain
    if outputs.binary:
        return tf.reduce_sum(tf.math.softplus(-tf.abs(logits)))
    return -tf.reduce_sum(tf.reduce_max(tf.nn.log_softmax(logits), axis=-1))


def _batch_size(model: ir.Model) -> int:
    """As many samples as fit the budget, 64 at most."""
    elements = sum(int(np.prod(shape_of(value))) for node in model.graph for value in node.outputs if value.name)
    return int(np.clip(_BYTES // max(4 * elements, 1), 1, 64))
