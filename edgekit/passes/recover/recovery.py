"""The whole of recovery on one page: data, networks, learning-rate trials, one descent, the best of all seen."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import ModelError
from edgekit.graph.queries import shape_of
from edgekit.passes.recover.dataset import Dataset, collect, split
from edgekit.passes.recover.distillation import Distillation
from edgekit.passes.recover.network import Network, replace_weights, require_trainable
from edgekit.passes.recover.outputs import find_both_outputs
from edgekit.passes.recover.quantization_aware import FakeQuantization
from edgekit.passes.recover.report import RecoveryReport, Stopped
from edgekit.passes.recover.settings import MOST_STEPS, RecoverySettings
from edgekit.passes.recover.tensorflow import require_tensorflow
from edgekit.passes.recover.training import Run, Schedule, Training, Weights
from edgekit.progress import Advance, Progress, Silent

Sample = Mapping[str, NDArray[Any]]

_TRIAL_SHARE = 0.05
"""Of the steps, for each learning rate."""
_LEAST_TRIAL = 20
_AS_GOOD = 1.1
"""ResNet-8, 30 steps: 1e-3 gives 0.164, 3e-3 0.174, 1e-2 0.189; of 3,000 steps 3e-3 gives 0.099 and 1e-2 0.101."""
_SHORT = 5
"""A run of fewer times the steps of a trial is too short to be better off with a larger rate."""
_EVALUATIONS = 40
_USABLE = 0.9
"""Of the time limit: steps get slower when others use the machine."""
_LEAST_GAIN = 0.05
"""A held-back loss less than this share below the start's is chance: EfficientNet-Lite1 gained 1.2 % on 13 held-back
images, and lost one image of 187 that nobody had seen."""
_ACTIVATION_BYTES = 1 << 30
"""Of the student's activations in one batch; teacher and gradients need about twice as much besides."""
_LARGEST_BATCH = 64
MOST_CALIBRATED = 256
"""Samples that give the ranges of activations in quantization-aware training, evenly spread: all of a few thousand took
most of a short time limit, and the final ranges are the quantizer's."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """The trained model, or the student itself when nothing better was found; the report says which."""

    model: ir.Model
    report: RecoveryReport


def recover(
    student: ir.Model,
    teacher: ir.Model,
    samples: Iterable[Sample],
    settings: RecoverySettings | None = None,
    *,
    labels: NDArray[np.int64] | None = None,
    start: ir.Model | None = None,
    progress: Progress | None = None,
) -> Recovered:
    """Train the weights of ``student`` to give what ``teacher`` gives; shapes and names stay, nothing grows back.

    Args:
        student: canonical and float, pruned from the teacher; not changed.
        teacher: canonical and float, the same inputs and outputs.
        samples: unlabelled, ``{input name: array}`` of what the model takes at once; iterated once.
        settings: times, rates, losses.
        labels: one class per row of all samples; adds cross-entropy.
        start: trained instead of ``student`` where that has seen the held-back samples (compensation was fitted to
            them: its held-back loss is too low, and training would look worse than it is). Built from the samples that
            are not among ``held_back_indices``; ``student`` is still what is given back when training is no gain.
        progress: told of the trials and the training.

    Raises:
        DependencyError: TensorFlow is not installed.
        UnsupportedError: an operator without a gradient; the message names the node. Before anything long starts.
        DataError: too few samples, or some that do not fit.
        ModelError: student and teacher have different inputs or outputs.
    """
    settings = settings or RecoverySettings()
    begin = time.monotonic()
    _require_same_interface(student, teacher)
    for model, role in ((teacher, "source network"), (start or student, "pruned network")):
        require_trainable(model, role)
    require_tensorflow("recovery (--recover)")
    inputs = [value.name or "" for value in student.graph.inputs]
    fitted, held_back = split(collect(samples, inputs, labels), settings)
    settings = replace(settings, batch_size=_batch_size(student, len(fitted), settings))
    network = Network(start or student, "pruned network", train=True)
    training = _training(network, teacher, (fitted, held_back), settings)
    descent = _descend(training, network.weights(), settings, begin + settings.time_limit_s, progress or Silent())
    run, best = descent.run, descent.best
    # Of fewer steps the first gain is no sign that the start, which was fitted to fewer samples, is overtaken.
    enough = best.steps >= min(_LEAST_TRIAL, descent.planned_steps)
    improved = enough and best.loss < descent.start_loss * (1 - _LEAST_GAIN)
    report = RecoveryReport(
        improved=improved,
        loss_name=training.loss_name,
        start_loss=descent.start_loss,
        best_loss=best.loss if improved else descent.start_loss,
        learning_rate=descent.best_rate if improved else descent.rate,
        trials=descent.trials,
        trial_steps=descent.trial_steps,
        from_trial=improved and best is not run,
        steps=run.steps,
        planned_steps=descent.planned_steps,
        epochs=round(run.steps * training.batch_size / len(fitted), 1),
        batch_size=training.batch_size,
        fitted_samples=len(fitted),
        held_back_samples=len(held_back),
        quantization_aware=settings.quantization is not None,
        stopped=run.stopped,
        seconds=time.monotonic() - begin,
    )
    return Recovered(replace_weights(start or student, best.weights) if improved else student, report)


def _require_same_interface(student: ir.Model, teacher: ir.Model) -> None:
    def interface(model: ir.Model) -> list[tuple[str | None, tuple[int, ...]]]:
        return [(value.name, shape_of(value)) for value in (*model.graph.inputs, *model.graph.outputs)]

    for ours, theirs in zip(interface(student), interface(teacher), strict=False):
        if ours != theirs:
            raise ModelError(f"recovery: the pruned network has {ours}, the source {theirs}; expected the same")
    if len(interface(student)) != len(interface(teacher)):
        raise ModelError("recovery: the pruned network and its source have different numbers of inputs or outputs")


def _batch_size(student: ir.Model, fitted: int, settings: RecoverySettings) -> int:
    """The largest power of two that memory allows, and that leaves at least four batches per epoch."""
    if settings.batch_size is not None:
        return min(settings.batch_size, fitted)
    elements = sum(math.prod(shape_of(value)) for node in student.graph for value in node.outputs if value.name)
    most = min(_LARGEST_BATCH, max(1, fitted // 4), max(1, _ACTIVATION_BYTES // (4 * elements)))
    return 1 << (most.bit_length() - 1)


def _training(
    network: Network, teacher: ir.Model, data: tuple[Dataset, Dataset], settings: RecoverySettings
) -> Training:
    intercept = None
    if settings.quantization is not None:
        fitted = data[0]
        spread = np.linspace(0, len(fitted) - 1, min(len(fitted), MOST_CALIBRATED)).round().astype(int).tolist()
        rows = [{name: array[index] for name, array in fitted.arrays.items()} for index in spread]
        intercept = FakeQuantization(network.tf, network.model, rows, settings.quantization)
    source = Network(teacher, "source network")
    distillation = Distillation(network, source, find_both_outputs(network.model, teacher), settings, intercept)
    return Training(network, distillation, data, settings)


@dataclass(frozen=True, slots=True)
class _Descent:
    """``run`` is the long one, at ``rate``; ``best``, at ``best_rate``, had the least loss of all runs and trials."""

    start_loss: float
    trials: tuple[tuple[float, float], ...]
    trial_steps: int
    rate: float
    planned_steps: int
    run: Run
    best: Run
    best_rate: float


@dataclass(frozen=True, slots=True)
class Plan:
    """``steps`` are those that ``wanted`` becomes where the time does not allow more."""

    wanted: int
    steps: int
    trial_steps: int

    @property
    def is_cut(self) -> bool:
        """Whether the time decides."""
        return self.steps < self.wanted


def _descend(
    training: Training, start: Weights, settings: RecoverySettings, deadline: float, progress: Progress
) -> _Descent:
    """Try each learning rate for a short while, then descend with the best; what a trial found may stay the best."""
    with progress.stage("recovery: looking at the start"):
        start_loss = training.held_back_loss()
        plan = _plan(training, settings, deadline)
    rates = settings.learning_rates if len(settings.learning_rates) > 1 else ()
    total = plan.steps + plan.trial_steps * len(rates)
    with progress.stage("recovering", total) as advance:
        counted = _Counted(advance)
        tried = [(rate, training.run(start, Schedule(rate, plan.trial_steps, 1, deadline), counted)) for rate in rates]
        trials = tuple((rate, run.loss) for rate, run in tried)
        rate = chosen_rate(trials, plan) if trials else settings.learning_rates[0]
        run = training.run(start, Schedule(rate, plan.steps, _EVALUATIONS, deadline), counted)
        advance(total - counted.done)
    if plan.is_cut and run.stopped is Stopped.FINISHED:
        run = replace(run, stopped=Stopped.TIME_LIMIT)
    best_rate, best = min([(rate, run), *tried], key=lambda each: each[1].loss)
    return _Descent(start_loss, trials, plan.trial_steps if trials else 0, rate, plan.wanted, run, best, best_rate)


def chosen_rate(trials: Sequence[tuple[float, float]], plan: Plan) -> float:
    """The largest that did about as well as the best: a long run is better off with a larger rate than a short one.

    Where the time allows no long run it is the best.
    """
    best = min(loss for _, loss in trials)
    tolerated = best if plan.is_cut and plan.steps < _SHORT * plan.trial_steps else best * _AS_GOOD
    return max(rate for rate, loss in trials if loss <= tolerated)


def _plan(training: Training, settings: RecoverySettings, deadline: float) -> Plan:
    """How many steps the settings want, or as many as the time allows beside the trials."""
    wanted = settings.steps or min(MOST_STEPS, settings.epochs * training.steps_per_epoch)
    rates = len(settings.learning_rates) if len(settings.learning_rates) > 1 else 0
    seconds = max(training.seconds_per_step(), 1e-6)
    possible = max(1, int(_USABLE * (deadline - time.monotonic()) / seconds))
    return divided(wanted, possible, rates)


def divided(wanted: int, possible: int, rates: int) -> Plan:
    """``possible`` steps for a trial of each of ``rates`` and the run; at most half of a short time goes to trials."""
    share = int(possible / (1 + _TRIAL_SHARE * rates))
    trial = max(_LEAST_TRIAL, round(_TRIAL_SHARE * min(wanted, share)))
    if rates and trial * rates + wanted > possible:
        trial = max(1, min(trial, possible // (2 * rates)))
    return Plan(wanted, max(1, min(wanted, possible - trial * rates)), trial)


class _Counted:
    """Advances, and knows how far."""

    def __init__(self, advance: Advance) -> None:
        self._advance, self.done = advance, 0

    def __call__(self, steps: int) -> None:
        self.done += steps
        self._advance(steps)
