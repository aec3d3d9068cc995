"""Recovery: train a pruned network to give what the float source gives, without labels (needs TensorFlow).

    recovered = recover(pruned.model, canonical, samples, RecoverySettings(time_limit_s=1200))

Importing the package, or its settings, loads nothing heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgekit.passes.recover.settings import RecoverySettings

if TYPE_CHECKING:
    from edgekit.passes.recover.dataset import held_back_indices
    from edgekit.passes.recover.recovery import Recovered, recover
    from edgekit.passes.recover.report import RecoveryReport

__all__ = ["Recovered", "RecoveryReport", "RecoverySettings", "held_back_indices", "recover"]

_HOME = {
    "Recovered": "recovery",
    "RecoveryReport": "report",
    "held_back_indices": "dataset",
    "recover": "recovery",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
