"""The losses: what a student should have in common with its teacher.

Soft targets with temperature T, T² KL(softmax(teacher / T) || softmax(student / T)) (Hinton et al. 2015, "Distilling
the Knowledge in a Neural Network", arXiv:1503.02531, section 2); the logits themselves (Ba & Caruana 2014, "Do Deep
Nets Really Need to be Deep?", arXiv:1312.6184, section 2.2), and what both networks have at the ends of their blocks
(Romero et al. 2015, "FitNets", arXiv:1412.6550), by squared error divided by the teacher's variance; for outputs that
are no class scores that relative error alone, its mean over the outputs. With labels, cross-entropy. In training the
variance is the batch's, so that no batch of large numbers outweighs the others; what judges divides by that of all.

The logits weigh most: they tell of classes that the softmax hides, so that few samples say more (ResNet-8 at 30 % with
819 images, KL on 846 unseen ones, 0.228 at the start: weight 1 0.133, 5 0.124).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgekit.graph.parts import usual_square
from edgekit.graph.queries import constant_value, is_op, shape_of, static_shape
from edgekit.passes.recover.activation import Activation, Tensor
from edgekit.passes.recover.network import Intercept, Network
from edgekit.passes.recover.outputs import Outputs
from edgekit.passes.recover.settings import RecoverySettings

MOST_BLOCKS = 12
_LEAST_SHARE = 0.1
"""Of the variance over all samples: a batch that varies less counts as if it varied so much."""
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def find_blocks(student: ir.Model, teacher: ir.Model, outputs: Outputs) -> list[str]:
    """Names of values to compare: sums of residual blocks, or without any the outputs of layers; a dozen at most.

    Only those that are in both graphs with one shape: what the pruning has shrunk is not compared.
    """
    shapes = {value.name: static_shape(value) for node in teacher.graph for value in node.outputs}
    shared = [
        node
        for node in student.graph
        if (shape := static_shape(node.outputs[0])) is not None
        and shapes.get(node.outputs[0].name) == shape
        and node.outputs[0].dtype == ir.DataType.FLOAT
        and node.outputs[0].name not in outputs.names
        and not node.outputs[0].is_graph_output()
    ]
    sums = [node for node in shared if is_op(node, "Add") and all(constant_value(v) is None for v in node.inputs)]
    chosen = sums or [node for node in shared if is_op(node, *_LAYERS)]
    names = [node.outputs[0].name or "" for node in chosen]
    if len(names) <= MOST_BLOCKS:
        return names
    return [names[(index + 1) * len(names) // MOST_BLOCKS - 1] for index in range(MOST_BLOCKS)]


class Distillation:
    """Runs both networks and compares them. ``intercept`` is put into the student (quantization-aware).

    ``outputs``: the student's and the teacher's.
    """

    def __init__(
        self,
        student: Network,
        teacher: Network,
        outputs: tuple[Outputs, Outputs],
        settings: RecoverySettings,
        intercept: Intercept | None = None,
    ) -> None:
        self._student, self._teacher, self._settings = student, teacher, settings
        self._given, self._outputs = outputs
        self._tf, self._intercept = student.tf, intercept
        self._blocks = find_blocks(student.model, teacher.model, self._outputs) if settings.block_weight else []
        self._scales = dict.fromkeys([*self._outputs.names, *self._blocks], 1.0)

    @property
    def loss_name(self) -> str:
        """Of the judging loss without labels; nats are at temperature 1."""
        return "relative squared error" if self._outputs.logits is None else "KL (nats)"

    @property
    def classes(self) -> int | None:
        """How many labels there are, None for what is no classifier."""
        if self._outputs.logits is None:
            return None
        values = {value.name: value for node in self._teacher.model.graph for value in node.outputs}
        return 2 if self._outputs.binary else shape_of(values[self._outputs.logits])[-1]

    def learn_scales(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """What errors are relative to: how much the teacher's values vary over all samples of ``batches``.

        Call it before any loss.
        """
        names = list(self._scales)
        moments = self._tf.function(lambda inputs: self._moments(inputs, names), reduce_retracing=True)
        found = [(len(next(iter(inputs.values()))), moments(inputs)) for inputs in batches]
        counts = np.array([count for count, _ in found], np.float64)
        means, variances = (np.array([each[index].numpy() for _, each in found], np.float64) for index in (0, 1))
        squares = counts @ (variances + means**2) / counts.sum()
        variance = np.maximum(squares - (counts @ means / counts.sum()) ** 2, 0)
        self._scales = {
            name: usual_square(*each) for name, *each in zip(names, variance.tolist(), squares.tolist(), strict=True)
        }

    def _moments(self, inputs: Mapping[str, Tensor], names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Mean and variance of each value in one batch."""
        found = [self._tf.nn.moments(self._tf.reshape(v.plain, [-1]), 0) for v in self._teacher.compute(inputs, names)]
        return self._tf.stack([mean for mean, _ in found]), self._tf.stack([variance for _, variance in found])

    def outputs(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """What the teacher gives, for ``judging_loss``."""
        return [value.plain for value in self._teacher.compute(inputs, self._outputs.names)]

    def training_loss(self, inputs: Mapping[str, Tensor], targets: Tensor | None) -> Tensor:
        """The mean over the samples of everything that is to be like the teacher's."""
        taught = self._teacher.compute(inputs, [*self._outputs.names, *self._blocks])
        given = self._student.compute(inputs, [*self._given.names, *self._blocks], self._intercept)
        count = len(self._outputs.names)
        loss = self._output_loss(given[:count], [value.plain for value in taught[:count]], targets, training=True)
        if not self._blocks:
            return loss
        pairs = zip(self._blocks, given[count:], taught[count:], strict=True)
        blocks = [self._batch_error(name, *_alike(a, b)) for name, a, b in pairs]
        return loss + self._settings.block_weight * sum(blocks) / len(blocks)

    def judging_loss(self, inputs: Mapping[str, Tensor], taught: Sequence[Tensor], targets: Tensor | None) -> Tensor:
        """The mean over the samples of the outputs' difference alone, at temperature 1."""
        given = self._student.compute(inputs, self._given.names, self._intercept)
        return self._output_loss(given, taught, targets, training=False)

    def _output_loss(
        self, given: Sequence[Activation], taught: Sequence[Tensor], targets: Tensor | None, *, training: bool
    ) -> Tensor:
        loss = self._tf.constant(0.0)
        others = list(zip(self._outputs.names, given, taught, strict=True))
        if self._outputs.logits is not None:
            (name, first, reference), *others = others
            temperature = self._settings.temperature if training else 1.0
            loss += self._soft(first.plain, reference, temperature)
            if training and self._settings.logit_weight:
                loss += self._settings.logit_weight * self._batch_error(name, first.plain, reference)
            if targets is not None:
                loss += self._settings.label_weight * self._labelled(first.plain, targets)
        error = self._batch_error if training else self._error
        errors = [error(name, value.plain, reference) for name, value, reference in others]
        return loss + sum(errors) / max(1, len(errors))

    def _soft(self, given: Tensor, taught: Tensor, temperature: float) -> Tensor:
        tf = self._tf
        if self._outputs.binary:
            given, taught = self._two(given), self._two(taught)
        log_given, log_taught = (tf.nn.log_softmax(logits / temperature) for logits in (given, taught))
        rows = tf.reduce_sum(tf.exp(log_taught) * (log_taught - log_given), axis=-1)
        return temperature**2 * tf.reduce_mean(rows)

    def _labelled(self, given: Tensor, targets: Tensor) -> Tensor:
        logits = self._two(given) if self._outputs.binary else given
        return -self._tf.reduce_mean(self._tf.reduce_sum(targets * self._tf.nn.log_softmax(logits), axis=-1))

    def _two(self, logit: Tensor) -> Tensor:
        """A logit as those of two classes."""
        return self._tf.concat([self._tf.zeros_like(logit), logit], axis=-1)

    def _error(self, name: str, given: Tensor, taught: Tensor) -> Tensor:
        return self._tf.reduce_mean(self._tf.math.squared_difference(given, taught)) / self._scales[name]

    def _batch_error(self, name: str, given: Tensor, taught: Tensor) -> Tensor:
        """Relative to what varies in the batch, if that is not next to nothing."""
        share = self._tf.math.reduce_variance(taught) / self._scales[name]
        return self._error(name, given, taught) / self._tf.maximum(share, _LEAST_SHARE)


def _alike(a: Activation, b: Activation) -> tuple[Any, Any]:
    """Both in one layout."""
    return (a.channels_last, b.channels_last) if a.is_last and b.is_last else (a.plain, b.plain)
