"""What makes up for removed channels: several ways, judged by the loss on samples that they have not seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgekit.passes.prune.build import Built, Network, affordable_samples
from edgekit.passes.prune.correction import correct_all
from edgekit.passes.prune.loss import Comparison
from edgekit.passes.prune.network import Sample
from edgekit.passes.prune.refit import changed_layers, refit_all
from edgekit.passes.prune.samples import evenly
from edgekit.passes.prune.sensitivity import Meter
from edgekit.progress import Progress

LEAST_TO_REFIT = 128
"""Samples of one half: with fewer, re-fits of all later layers learn the samples (EfficientNet-Lite1 with 31)."""

_MARGIN = 0.98
"""What is not better by so much is not worth its complexity."""

Apply = Callable[[Network, Built, Sequence[Sample]], Built]


@dataclass(frozen=True, slots=True)
class Way:
    """``name`` is for the report; ``apply`` changes a network whose pruned layers' readers are solved already."""

    name: str
    apply: Apply


def _as_built(network: Network, built: Built, samples: Sequence[Sample]) -> Built:
    return built


def _refit(damping: float) -> Apply:
    def apply(network: Network, built: Built, samples: Sequence[Sample]) -> Built:
        seen = evenly(samples, _affordable(network, built))
        return Built(refit_all(network.model, built.weights, seen, damping=damping), built.removed, built.dropped)

    return apply


def _correct(network: Network, built: Built, samples: Sequence[Sample]) -> Built:
    seen = evenly(samples, _affordable(network, built))
    return Built(correct_all(network.model, built.weights, seen, deviation=True), built.removed, built.dropped)


PLAIN = Way("consumers re-fitted (optimal brain surgeon)", _as_built)
NOTHING = Way("nothing re-fitted", _as_built)
_NONE_COULD = "no layer that reads removed channels could be re-fitted: nothing but their zeros stands for them there"
_DAMPINGS = (1e-3, 1e-1)


def _ways(*, solved: bool, refit: bool) -> tuple[Way, ...]:
    """``solved``: consumers have been re-fitted; ``refit``: there is enough to re-fit all later layers too."""
    if refit:
        layers = "consumers and all later layers" if solved else "all later layers"
        return tuple(Way(f"{layers} re-fitted (damping {damping:g})", _refit(damping)) for damping in _DAMPINGS)
    # A re-fit matches the means too.
    matched = "means and deviations of all later layers matched"
    return (Way(f"consumers re-fitted, {matched}" if solved else matched, _correct),)


@dataclass(frozen=True, slots=True)
class Judged:
    """The best way, and its loss on samples that it has not seen; ``note``: what of it people should know."""

    way: Way
    loss: float
    note: str | None = None


def choose(meter: Meter, comparison: Comparison, built: Sequence[Built], plain: float, progress: Progress) -> Judged:
    """The way with the least loss; simpler ones win ties. ``built``: for each fold; ``plain``: its loss as it is."""
    solved = any(each.solved for each in built)
    note = _NONE_COULD if not solved and any(each.removed.any() for each in built) else None
    best = Judged(PLAIN if solved else NOTHING, plain, note)
    ways = _ways(solved=solved, refit=_has_enough(meter, built))
    with progress.stage("compensating", len(ways) * len(built)) as advance:
        for way in ways:
            changed = []
            for fold, each in zip(meter.folds, built, strict=True):
                changed.append(way.apply(meter.network, each, fold.fit))
                advance(1)
            loss = meter.loss_of(comparison, changed)
            if loss < _MARGIN * best.loss:
                best = Judged(way, loss, note)
    return best


def _has_enough(meter: Meter, built: Sequence[Built]) -> bool:
    return all(
        min(len(fold.fit), _affordable(meter.network, each)) >= LEAST_TO_REFIT
        for fold, each in zip(meter.folds, built, strict=True)
    )


def _affordable(network: Network, built: Built) -> int:
    # Two networks run side by side, the pruned one and the float one for the targets.
    return affordable_samples(network.model, changed_layers(network.model, built.weights)) // 2
