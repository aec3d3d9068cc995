"""Adam, learning-rate trials, and early stopping on samples that are never trained on.

Adam: Kingma & Ba 2015 (arXiv:1412.6980), algorithm 1. Rates are shares of each tensor's root mean square: the tensors
of a network differ in scale by a thousand, where BatchNorm was folded. A rate rises over a tenth of the steps and falls
with a cosine (Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5). What is judged is the average of late weights.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.passes.recover.activation import Tensor
from edgekit.passes.recover.augmentation import Augmentation
from edgekit.passes.recover.dataset import Batch, Dataset
from edgekit.passes.recover.distillation import Distillation
from edgekit.passes.recover.network import Network
from edgekit.passes.recover.report import Stopped
from edgekit.passes.recover.settings import RecoverySettings

Weights = dict[str, NDArray[np.float32]]

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
_LARGEST_JUMP = 4.0
"""A gradient is shortened to so many times the usual length."""
_WARM_UP = 0.1
_LEAST_RMS = 1e-6


class Adam:
    """Adam with gradients and steps in units of each variable's root mean square at the start."""

    def __init__(self, tf: Any, variables: list[Any]) -> None:
        self._tf, self._variables = tf, variables
        self._scales = [max(float(np.sqrt(np.mean(np.square(v.numpy())))), _LEAST_RMS) for v in variables]
        self._first = [tf.Variable(tf.zeros_like(v)) for v in variables]
        self._second = [tf.Variable(tf.zeros_like(v)) for v in variables]
        self._steps, self._length = tf.Variable(0.0), tf.Variable(0.0)

    def reset(self) -> None:
        """Forget all gradients."""
        for variable in (*self._first, *self._second, self._steps, self._length):
            variable.assign(self._tf.zeros_like(variable))

    def apply(self, gradients: list[Tensor], rate: Tensor) -> None:
        """One step."""
        tf = self._tf
        scaled = [gradient * scale for gradient, scale in zip(gradients, self._scales, strict=True)]
        self._steps.assign_add(1.0)
        factor = self._shortening(tf.linalg.global_norm(scaled))
        shortened = [gradient * factor for gradient in scaled]
        corrections = 1 - tf.pow(_BETA1, self._steps), 1 - tf.pow(_BETA2, self._steps)
        for gradient, variable, scale, first, second in zip(
            shortened, self._variables, self._scales, self._first, self._second, strict=True
        ):
            first.assign(_BETA1 * first + (1 - _BETA1) * gradient)
            second.assign(_BETA2 * second + (1 - _BETA2) * tf.square(gradient))
            step = (first / corrections[0]) / (tf.sqrt(second / corrections[1]) + _EPSILON)
            variable.assign_sub(rate * scale * step)

    def _shortening(self, length: Tensor) -> Tensor:
        """1, or what makes the gradient `_LARGEST_JUMP` times as long as those before it were on average."""
        tf = self._tf
        usual = self._length / tf.maximum(1 - tf.pow(_BETA2, self._steps - 1), _EPSILON)
        factor = tf.where(self._steps > 1, tf.minimum(1.0, _LARGEST_JUMP * usual / tf.maximum(length, _EPSILON)), 1.0)
        self._length.assign(_BETA2 * self._length + (1 - _BETA2) * length * factor)
        return factor


class Average:
    """The mean of the variables over the last tenth of the steps: it strays less from what few samples tell.

    Exponential, with the decay (1 + t) / (10 + t) after t steps (Polyak & Juditsky 1992, "Acceleration of Stochastic
    Approximation by Averaging"; of a student's weights Tarvainen & Valpola 2017, arXiv:1703.01780, section 2).
    """

    def __init__(self, tf: Any, variables: list[Any]) -> None:
        self._tf, self._variables = tf, variables
        self._means = [tf.Variable(variable) for variable in variables]
        self._steps = tf.Variable(0.0)

    def reset(self) -> None:
        """Begin with the variables as they are."""
        self._steps.assign(0.0)
        for mean, variable in zip(self._means, self._variables, strict=True):
            mean.assign(variable)

    def update(self) -> None:
        """After a step."""
        decay = (1 + self._steps) / (10 + self._steps)
        for mean, variable in zip(self._means, self._variables, strict=True):
            mean.assign(decay * mean + (1 - decay) * variable)
        self._steps.assign_add(1.0)

    def swap(self) -> None:
        """The variables and their means, exchanged."""
        for mean, variable in zip(self._means, self._variables, strict=True):
            kept = self._tf.identity(variable)
            variable.assign(mean)
            mean.assign(kept)


@dataclass(frozen=True, slots=True)
class Run:
    """One descent: the best held-back loss, the averaged weights that had it, and how far it went."""

    loss: float
    weights: Weights
    steps: int
    stopped: Stopped


@dataclass(frozen=True, slots=True)
class Schedule:
    """One descent as it is planned. ``evaluations``: how often the held-back samples judge, evenly spread."""

    rate: float
    steps: int
    evaluations: int
    deadline: float

    def rate_at(self, step: int) -> float:
        """Linear up to ``rate``, then a cosine down to 0."""
        warm = max(1, round(_WARM_UP * self.steps))
        if step < warm:
            return self.rate * (step + 1) / warm
        return self.rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm)))

    def evaluates_after(self, step: int) -> bool:
        """Whether the samples judge when ``step`` (from 0) is done."""
        return (step + 1) * self.evaluations // self.steps > step * self.evaluations // self.steps


class Training:
    """One student on its data; every run begins where it is told to, with the same order of the same batches."""

    def __init__(
        self, student: Network, distillation: Distillation, data: tuple[Dataset, Dataset], settings: RecoverySettings
    ) -> None:
        self._student, self._distillation, self._settings = student, distillation, settings
        self._tf = student.tf
        self._fitted, held_back = data
        self._labelled = held_back.labels is not None and distillation.classes is not None and settings.label_weight > 0
        self.batch_size = min(settings.batch_size or 1, len(self._fitted))
        self._variables = list(student.variables.values())
        self._adam = Adam(self._tf, self._variables)
        self._average = Average(self._tf, self._variables)
        distillation.learn_scales(self._tensors(part.arrays) for part in self._parts(self._fitted))
        self._train, self._judge = self._functions()
        self._held_back = list(self._judged(held_back))

    @property
    def loss_name(self) -> str:
        """Of the held-back loss: what is added up, and whether the student rounds."""
        name = self._distillation.loss_name
        if self._labelled:
            name += f" + {self._settings.label_weight:g} x cross-entropy of the labels"
        return name if self._settings.quantization is None else f"{name}, rounded as int8"

    @property
    def steps_per_epoch(self) -> int:
        """Batches of the fitted samples; a smaller rest waits for the next epoch's order."""
        return max(1, len(self._fitted) // self.batch_size)

    def held_back_loss(self) -> float:
        """Of the student as it is; infinite when it is not a number."""
        losses = [float(self._judge(*batch)) * count for batch, count in self._held_back]
        loss = sum(losses) / sum(count for _, count in self._held_back)
        return loss if math.isfinite(loss) else math.inf

    def seconds_per_step(self) -> float:
        """Measured on the second of two steps, after which the student is as it was."""
        start, batches = self._student.weights(), self._batches()
        self._train(*next(batches), self._tf.constant(0.0))
        begin = time.monotonic()
        self._train(*next(batches), self._tf.constant(0.0))
        seconds = time.monotonic() - begin
        self._student.assign(start)
        return seconds

    def run(self, start: Mapping[str, NDArray[np.float32]], schedule: Schedule, advance: Callable[[int], None]) -> Run:
        """Descend from ``start``; the start itself is no candidate."""
        self._student.assign(start)
        self._adam.reset()
        self._average.reset()
        best, best_weights, best_step, step = math.inf, dict(start), 0, 0
        stopped, batches = Stopped.FINISHED, self._batches()
        patience = max(1.0, self._settings.patience * schedule.steps)
        for step in range(schedule.steps):
            self._train(*next(batches), self._tf.constant(schedule.rate_at(step), self._tf.float32))
            advance(1)
            late = time.monotonic() > schedule.deadline
            if schedule.evaluates_after(step) or late:
                self._average.swap()
                loss = self.held_back_loss()
                if loss < best:
                    best, best_weights, best_step = loss, self._student.weights(), step
                self._average.swap()
                if late or step - best_step >= patience:
                    stopped = Stopped.TIME_LIMIT if late else Stopped.NO_PROGRESS
                    break
        return Run(best, best_weights, step + 1, stopped)

    def _functions(self) -> tuple[Any, Any]:
        tf, distillation = self._tf, self._distillation

        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
        def train(inputs: Mapping[str, Tensor], targets: Tensor | None, rate: Tensor) -> Tensor:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(self._variables)
                loss = distillation.training_loss(inputs, targets)
            gradients = tape.gradient(loss, self._variables, unconnected_gradients="zero")
            self._adam.apply(gradients, rate)
            self._average.update()
            return loss

        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
        def judge(inputs: Mapping[str, Tensor], taught: list[Tensor], targets: Tensor | None) -> Tensor:
            return distillation.judging_loss(inputs, taught, targets)

        return train, judge

    def _judged(self, held_back: Dataset) -> Iterator[tuple[tuple[Any, Any, Any], int]]:
        """Batches with the teacher's answers, which never change."""
        teach = self._tf.function(self._distillation.outputs, reduce_retracing=True)
        for part in self._parts(held_back):
            inputs = self._tensors(part.arrays)
            yield (inputs, teach(inputs), self._targets(part)), len(part)

    def _parts(self, data: Dataset) -> Iterator[Dataset]:
        """In their order, as many as a batch has; the last may be smaller."""
        for begin in range(0, len(data), self.batch_size):
            yield data.take(np.arange(begin, min(begin + self.batch_size, len(data))))

    def _batches(self) -> Iterator[tuple[dict[str, Tensor], Tensor | None]]:
        """Without end, each sample once per epoch, changed anew each time."""
        rng = np.random.default_rng(self._settings.seed)
        augment = Augmentation(self._settings, rng)
        while True:
            order = rng.permutation(len(self._fitted))
            for begin in range(0, len(order) - self.batch_size + 1, self.batch_size):
                part = self._fitted.take(order[begin : begin + self.batch_size])
                arrays, targets = augment(part.arrays, self._one_hot(part))
                yield self._tensors(arrays), None if targets is None else self._tf.constant(targets)

    def _tensors(self, arrays: Batch) -> dict[str, Tensor]:
        return {name: self._tf.constant(array) for name, array in arrays.items()}

    def _targets(self, part: Dataset) -> Tensor | None:
        targets = self._one_hot(part)
        return None if targets is None else self._tf.constant(targets)

    def _one_hot(self, part: Dataset) -> NDArray[np.float32] | None:
        classes = self._distillation.classes
        if part.labels is None or classes is None:
            return None
        return np.eye(classes, dtype=np.float32)[part.labels]
