"""Recovery as a stage: the flags in, what came of it out."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import onnx_ir as ir

from edgekit.building import Builder
from edgekit.data import Samples
from edgekit.errors import DataError
from edgekit.interface import Precision
from edgekit.passes.prune import Pruned, Pruner
from edgekit.passes.quantize import QuantizationScheme
from edgekit.passes.recover import Recovered, RecoverySettings, held_back_indices, recover
from edgekit.passes.recover.dataset import LEAST_HELD_BACK, MOST_BYTES
from edgekit.passes.recover.network import require_trainable
from edgekit.pruning import settings as flags
from edgekit.runtimes import Array

LEAST_SAMPLES = 2 * LEAST_HELD_BACK


def require_recoverable(graph: ir.Model, builder: Builder) -> None:
    """Before anything is pruned, which takes minutes: can the network be trained, and are there enough samples?

    Raises UnsupportedError naming the node, and DataError.
    """
    require_trainable(graph, "source network")
    batch = 1 if builder.samples is None else builder.samples.batch
    if builder.samples is None or len(builder.samples) < LEAST_SAMPLES:
        counted = f"{LEAST_SAMPLES * batch} samples" + (f" ({LEAST_SAMPLES} batches of {batch})" if batch > 1 else "")
        raise DataError(
            f"{builder.settings.calibration}: --recover needs at least {counted}, some of which judge the training; "
            "give more, or leave it out"
        )


def recover_network(
    pruner: Pruner, pruned: Pruned, teacher: ir.Model, wanted: flags.RecoverySettings, builder: Builder
) -> Recovered:
    """The ``pruned`` network trained to give what ``teacher`` gives on the builder's samples, and on labels if any.

    It starts from a network whose compensation has not seen the samples that judge it.
    """
    samples = builder.samples
    assert samples is not None  # require_recoverable has seen to it
    with builder.settings.progress.stage("compensating for what recovery holds back", 1) as advance:
        start = pruner.fitted(pruned, FittedSamples(samples)) if _fit_in_memory(samples) else None
        advance(1)
    settings = RecoverySettings(time_limit_s=60 * wanted.minutes)
    if wanted.temperature is not None:
        settings = replace(settings, temperature=wanted.temperature)
    if wanted.quantization_aware:
        settings = replace(settings, quantization=_scheme(builder))
    recovered = recover(
        pruned.model,
        teacher,
        samples,
        settings,
        labels=samples.labels,
        start=start,
        progress=builder.settings.progress,
    )
    return replace(recovered, report=recovered.report.counted_by(samples.batch))


class FittedSamples:
    """The samples that recovery trains on: without those that it holds back to judge."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._held_back = frozenset(held_back_indices(len(samples), RecoverySettings()).tolist())

    def __len__(self) -> int:
        return len(self._samples) - len(self._held_back)

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        return (sample for index, sample in enumerate(self._samples) if index not in self._held_back)


def _fit_in_memory(samples: Samples) -> bool:
    """Whether recovery takes all of them: else it holds others back than are known here."""
    first = next(iter(samples))
    return len(samples) * sum(array.nbytes for array in first.values()) <= MOST_BYTES


def _scheme(builder: Builder) -> QuantizationScheme:
    """That of the first target in static int8: the others round alike, or at one bit more."""
    schemes = [builder.scheme(profile) for profile in builder.profiles]
    return next(scheme for scheme in schemes if scheme.precision is Precision.INT8)
