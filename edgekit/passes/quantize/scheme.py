"""What to do to a network's numbers: plain frozen data that a target profile can build without numpy."""

from dataclasses import dataclass
from typing import Literal

from edgekit.interface import Precision


@dataclass(frozen=True, slots=True)
class PerTensor:
    """One scale and zero point for a whole tensor."""


@dataclass(frozen=True, slots=True)
class PerAxis:
    """One scale for each index along ``axis`` (never negative)."""

    axis: int


Granularity = PerTensor | PerAxis


@dataclass(frozen=True, slots=True)
class QuantizationScheme:
    """How a network is quantized.

    ``weight_bits`` 7 is for CPUs whose u8 x s8 dot product saturates at 16 bits (x86 without VNNI). ``observer``,
    ``rounding`` and ``bias_correction`` concern static int8 only. ``float_ops`` are ONNX op types that stay float.
    """

    precision: Precision
    weight_bits: Literal[8, 7] = 8
    weight_granularity: Literal["per_axis", "per_tensor"] = "per_axis"
    observer: Literal["minmax", "mse"] = "minmax"
    rounding: Literal["nearest", "gptq"] = "nearest"
    bias_correction: bool = False
    float_ops: tuple[str, ...] = ()

    @property
    def weight_quant_max(self) -> int:
        """The largest weight code: symmetric and narrow, as the TFLite int8 specification wants it."""
        return 127 if self.weight_bits == 8 else 63
