"""What recovery is asked for: plain frozen data that the settings of an export can build without numpy."""

from dataclasses import dataclass

from edgekit.errors import UsageError
from edgekit.interface import Precision
from edgekit.passes.quantize.scheme import QuantizationScheme


@dataclass(frozen=True, slots=True)
class RecoverySettings:
    """How a pruned network is trained.

    ``time_limit_s``: of everything; a run that it does not cut is reproducible. ``steps``: of the optimizer at most,
    None: ``epochs`` over the samples, but `MOST_STEPS` at most. ``batch_size`` None: what memory allows, 64 at most.
    ``learning_rates``: shares of each weight tensor's root mean square per step; each is tried, the best goes on.
    ``temperature``, ``logit_weight``, ``block_weight``, ``label_weight``: of the losses; see distillation.py.
    ``flips``, ``shifts``, ``mixing``: see augmentation.py. ``held_back``: the share of samples that judge and never
    train; of many samples less, see dataset.py. ``patience``: the share of the steps that may pass without a better
    held-back loss. ``quantization``: round as this scheme will while training (quantization-aware); None: float.
    """

    time_limit_s: float = 1200.0
    steps: int | None = None
    epochs: int = 300
    batch_size: int | None = None
    learning_rates: tuple[float, ...] = (1e-2, 3e-3, 1e-3, 3e-4)
    temperature: float = 1.0
    logit_weight: float = 5.0
    block_weight: float = 1.0
    label_weight: float = 0.5
    flips: bool = True
    shifts: bool = True
    mixing: bool = True
    held_back: float = 0.2
    patience: float = 0.4
    quantization: QuantizationScheme | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("time_limit_s", "temperature", "epochs", "patience"):
            self._require(name, getattr(self, name) > 0, "a number above 0")
        for name in ("steps", "batch_size"):
            self._require(name, getattr(self, name) is None or getattr(self, name) >= 1, "at least 1")
        for name in ("logit_weight", "block_weight", "label_weight"):
            self._require(name, getattr(self, name) >= 0, "a number, not negative")
        rates = self.learning_rates
        self._require("learning_rates", bool(rates) and min(rates) > 0, "at least one number above 0")
        static = self.quantization is None or self.quantization.precision is Precision.INT8
        self._require("quantization", static, "a scheme of static int8")
        self._require("held_back", 0 < self.held_back < 1, "a share between 0 and 1")

    def _require(self, name: str, fits: bool, expected: str) -> None:
        if not fits:
            raise UsageError(f"recovery: {name} = {getattr(self, name)}; expected {expected}")


MOST_STEPS = 6000
"""Planned at most, when the settings do not say how many."""
