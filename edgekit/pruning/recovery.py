"""Recovery as a stage: the flags in, what came of it out."""

from dataclasses import replace

import onnx_ir as ir

from edgekit.building import Builder
from edgekit.errors import DataError
from edgekit.interface import Precision
from edgekit.passes.quantize import QuantizationScheme
from edgekit.passes.recover import Recovered, RecoverySettings, recover
from edgekit.passes.recover.dataset import LEAST_HELD_BACK
from edgekit.passes.recover.network import require_trainable
from edgekit.pruning import settings as flags

LEAST_SAMPLES = 2 * LEAST_HELD_BACK


def require_recoverable(graph: ir.Model, builder: Builder) -> None:
    """Before anything is pruned, which takes minutes: can the network be trained, and are there enough samples?

    Raises UnsupportedError naming the node, and DataError.
    """
    require_trainable(graph, "source network")
    if builder.samples is None or len(builder.samples) < LEAST_SAMPLES:
        raise DataError(
            f"{builder.settings.calibration}: --recover needs at least {LEAST_SAMPLES} samples, half of which judge "
            "the training; give more, or leave it out"
        )


def recover_network(
    student: ir.Model, teacher: ir.Model, wanted: flags.RecoverySettings, builder: Builder
) -> Recovered:
    """The pruned ``student`` trained to give what ``teacher`` gives on the builder's samples, and on labels if any."""
    samples = builder.samples
    assert samples is not None  # require_recoverable has seen to it
    settings = RecoverySettings(time_limit_s=60 * wanted.minutes)
    if wanted.temperature is not None:
        settings = replace(settings, temperature=wanted.temperature)
    if wanted.quantization_aware:
        settings = replace(settings, quantization=_scheme(builder))
    return recover(student, teacher, samples, settings, labels=samples.labels, progress=builder.settings.progress)


def _scheme(builder: Builder) -> QuantizationScheme:
    """That of the first target in static int8: the others round alike, or at one bit more."""
    schemes = [builder.scheme(profile) for profile in builder.profiles]
    return next(scheme for scheme in schemes if scheme.precision is Precision.INT8)
