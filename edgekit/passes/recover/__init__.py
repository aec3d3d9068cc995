"""Recovery: train a pruned network to give what the float source gives, without labels (needs TensorFlow).

    recovered = recover(pruned.model, canonical, samples, RecoverySettings(time_limit_s=1200))

Importing the package, or its settings, loads nothing heavy.
"""

from typing import TYPE_CHECKING

from edgekit.lazy import lazy_names
from edgekit.passes.recover.settings import RecoverySettings

if TYPE_CHECKING:
    from edgekit.passes.recover.dataset import held_back_indices
    from edgekit.passes.recover.recovery import Recovered, recover
    from edgekit.passes.recover.report import RecoveryReport

__all__ = ["Recovered", "RecoveryReport", "RecoverySettings", "held_back_indices", "recover"]

__getattr__ = lazy_names(
    __name__,
    {
        "Recovered": "recovery",
        "RecoveryReport": "report",
        "held_back_indices": "dataset",
        "recover": "recovery",
    },
)
