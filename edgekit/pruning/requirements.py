"""What pruning needs, told before any long work; and the scheme that suits all targets."""

import math
from collections.abc import Sequence

from edgekit.errors import DataError, UsageError
from edgekit.interface import Precision
from edgekit.passes.prune import PruningScheme
from edgekit.passes.prune.importance import KINDS, Needs
from edgekit.passes.recover.tensorflow import require_tensorflow
from edgekit.profiles.target import Target
from edgekit.pruning.settings import PruningSettings
from edgekit.settings import ExportSettings


def require_pruning(profiles: Sequence[Target], settings: ExportSettings) -> None:
    """Raises UsageError, DataError or DependencyError for what would fail after hours, or would mean nothing."""
    pruning = settings.pruning
    if pruning is None:
        return
    scheme = common_scheme(profiles, pruning)
    kind = KINDS[scheme.importance]
    if pruning.strict and kind.needs_samples and settings.calibration is None:
        raise DataError(
            f"--strict: the importance {scheme.importance} needs samples: give --calibration PATH, "
            "or --importance l2, which needs none"
        )
    if kind.needs is Needs.GRADIENTS and settings.calibration is not None:
        require_tensorflow(f"the importance {scheme.importance}")
    if pruning.max_latency_ms is not None:
        _require_runtimes_here(profiles)
    if pruning.recovery is not None:
        _require_recovery(profiles, settings, pruning.recovery.quantization_aware)


def common_scheme(profiles: Sequence[Target], pruning: PruningSettings) -> PruningScheme:
    """One network for all targets: the least common multiple of their channel multiples, and one importance.

    Raises UsageError when the targets want different importances and ``pruning`` has none.
    """
    wanted = dict.fromkeys(profile.pruning.importance for profile in profiles)
    if pruning.importance is None and len(wanted) > 1:
        listed = ", ".join(f"{profile.name} {profile.pruning.importance}" for profile in profiles)
        raise UsageError(
            f"one network is pruned for all targets, and their profiles want different importances ({listed}); "
            "choose one with --importance"
        )
    return PruningScheme(
        channel_multiple=channel_multiple(profiles),
        importance=pruning.importance or next(iter(wanted)),
        strict=pruning.strict,
    )


def channel_multiple(profiles: Sequence[Target]) -> int:
    """The least common one of all ``profiles``; the usual one without any."""
    multiples = [profile.pruning.channel_multiple for profile in profiles]
    return math.lcm(*multiples) if multiples else PruningScheme().channel_multiple


def _require_runtimes_here(profiles: Sequence[Target]) -> None:
    for profile in profiles:
        for format_name in profile.formats:
            runtime = profile.runtimes[format_name]
            if not runtime.is_asked:
                raise UsageError(
                    f"--max-latency: {profile.name} runs {format_name} files on {runtime.accelerator}, which cannot be "
                    "timed on this machine; leave the target out, or give --prune or --max-bytes instead"
                )


def _require_recovery(profiles: Sequence[Target], settings: ExportSettings, quantization_aware: bool) -> None:
    if settings.calibration is None:
        raise DataError("--recover: training needs samples: give --calibration PATH (labels are not needed)")
    if quantization_aware and not any(
        (settings.precision or profile.precision) is Precision.INT8 for profile in profiles
    ):
        raise UsageError("--quantization-aware: none of the targets is to be static int8; leave it out")
    require_tensorflow("--recover")
