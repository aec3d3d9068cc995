"""What recovery did, as plain data for the table and the manifest."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class Stopped(StrEnum):
    """Why the training ended."""

    FINISHED = "finished"
    TIME_LIMIT = "time limit"
    NO_PROGRESS = "no progress on the held-back samples"


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """``loss_name`` is what the losses are: of the held-back samples, which were not trained on.

    ``improved``: False when nothing better than the start was found, and the start is what was given back.
    ``trials``: the held-back loss after a run of ``trial_steps`` with each learning rate; ``from_trial``: the best
    weights were those of one of them. ``steps`` were made in the long run, of the ``planned_steps`` that were wanted.
    ``epochs``: passes over the fitted samples. ``seconds`` is for people: it is not in the JSON, which two runs share.
    """

    improved: bool
    loss_name: str
    start_loss: float
    best_loss: float
    learning_rate: float
    trials: tuple[tuple[float, float], ...]
    trial_steps: int
    from_trial: bool
    steps: int
    planned_steps: int
    epochs: float
    batch_size: int
    fitted_samples: int
    held_back_samples: int
    quantization_aware: bool
    stopped: Stopped
    seconds: float

    @property
    def sentence(self) -> str:
        """What the user should read."""
        if not self.improved:
            return (
                f"recovery found nothing better than the start ({self.loss_name} {self.start_loss:.4g} "
                f"on {self.held_back_samples} held-back samples); the pruned network is as it was"
            )
        steps = f"a trial of {self.trial_steps}" if self.from_trial else f"{self.steps}"
        return (
            f"recovery: {self.loss_name} {self.start_loss:.4g} -> {self.best_loss:.4g} on {self.held_back_samples} "
            f"held-back samples, {steps} steps at {self.learning_rate:g}, {self.seconds:.0f} s ({self.stopped})"
        )

    @property
    def warning(self) -> str | None:
        """What the user should know when the time limit cut the training."""
        if self.stopped is not Stopped.TIME_LIMIT:
            return None
        steps = f"{self.steps:,} step{'' if self.steps == 1 else 's'} of {self.planned_steps:,} planned"
        return (
            f"recovery was cut short: the time limit allowed {steps}, and another run gives other weights "
            "(--recover-minutes allows more)"
        )

    def counted_by(self, batch: int) -> "RecoveryReport":
        """The same report, with single samples counted where what the model takes at once was ``batch`` of them."""
        return replace(
            self,
            batch_size=self.batch_size * batch,
            fitted_samples=self.fitted_samples * batch,
            held_back_samples=self.held_back_samples * batch,
        )

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "improved": self.improved,
            "loss_name": self.loss_name,
            "start_loss": self.start_loss,
            "best_loss": self.best_loss,
            "learning_rate": self.learning_rate,
            "trial_steps": self.trial_steps,
            "from_trial": self.from_trial,
            "trials": [{"learning_rate": rate, "loss": loss} for rate, loss in self.trials],
            "steps": self.steps,
            "planned_steps": self.planned_steps,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "fitted_samples": self.fitted_samples,
            "held_back_samples": self.held_back_samples,
            "quantization_aware": self.quantization_aware,
            "stopped": str(self.stopped),
        }
