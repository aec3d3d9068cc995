"""Why a pruned artifact may have missed its gate, and what to do about it."""

from collections.abc import Sized
from dataclasses import dataclass

from edgekit.passes.prune import PruningReport
from edgekit.passes.prune.samples import LEAST_TO_FIT
from edgekit.passes.recover.report import RecoveryReport, Stopped
from edgekit.pruning.recovery import LEAST_SAMPLES
from edgekit.verification.verification import EXPORT_ADVICE


@dataclass(frozen=True, slots=True)
class Explanation:
    """``cause`` comes before what was missed, "" when nothing is known; ``advice`` behind it."""

    cause: str
    advice: str


def explain(
    report: PruningReport | None,
    recovery: RecoveryReport | None,
    samples: Sized | None,
    *,
    judged: bool,
    batch: int = 1,
) -> Explanation:
    """``report`` None: nothing was removed. ``judged``: there are evaluation samples.

    ``batch``: the model takes so many samples at once, which are one of ``samples``.
    """
    if report is None:
        return Explanation("", EXPORT_ADVICE)
    count = 0 if samples is None else len(samples)
    if count < LEAST_TO_FIT:
        return _without_data(report, count, batch, judged=judged)
    if recovery is not None:
        return _after_recovery(recovery)
    train = ", or train it with --recover" if count >= LEAST_SAMPLES else ""
    return Explanation("", f"remove less{',' if train else ' or'} allow more with --max-drop{train}")


def _without_data(report: PruningReport, count: int, batch: int, *, judged: bool) -> Explanation:
    cause = "; ".join(report.notes)
    if not judged:
        cause += f"; judged on {f'{count * batch} samples' if count else 'random samples'}"
    least = LEAST_TO_FIT * batch
    return Explanation(cause, f"give samples with --calibration ({least} at least, a few dozen are better)")


def _after_recovery(recovery: RecoveryReport) -> Explanation:
    advice = ["remove less", "allow more with --max-drop", "give more samples with --calibration"]
    if recovery.stopped is Stopped.TIME_LIMIT:
        advice[-1] = "train longer with --recover-minutes"
        told = recovery.warning or ""
    elif recovery.improved:
        losses = f"{recovery.start_loss:.3g} -> {recovery.best_loss:.3g}"
        told = f"recovery brought {losses} {recovery.loss_name}, and no more"
    else:
        told = "recovery found nothing better than the pruned network"
    return Explanation(told, f"{', '.join(advice[:-1])} or {advice[-1]}")
