"""How far an emulated run is from this machine's, and how far it may be.

Integers must be within one step. Kernels of one format round differently on different machines here and there; in a
deep network such steps add up. Measured, ARM against x86, outputs of EfficientNet-Lite1 (60 integer layers): LiteRT and
onnxruntime not one step apart, MNN up to 4 (RMS 0.86). ResNet-8 and DS-CNN: none in any format. So more than one step
is let through as long as it looks like added roundings: RMS of at most one step, none beyond six. What is wrong is far
from that: MNN's faulty i8mm kernel was 50 and more steps off.

Float networks must be within 1e-4 of the largest output (measured: 1e-6). Of fp16 artifacts only onnxruntime computes
in half precision, on CPUs that have it, where the format rounds at 5e-4 in every layer: within 3e-2 (measured: 2e-3 for
ResNet-8, 1e-2 for EfficientNet-Lite1; the others 1e-6).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.interface import Precision, TensorSpec
from edgekit.runtimes import Array

_MAX_STEPS = 1.0
_MAX_RMS_STEPS = 1.0
_MAX_ADDED_STEPS = 6.0
_MAX_RELATIVE = 1e-4
_MAX_RELATIVE_HALF = 3e-2

# Steps are compared after a division of float32 numbers: an exact step may come out as 1.0000001.
_SLACK = 1e-2

_IN_STEPS = (Precision.INT8, Precision.INT8_DYNAMIC)
_CODES = 255
"""Steps of an 8-bit integer."""


@dataclass(frozen=True, slots=True)
class Emulated:
    """One artifact on one emulated CPU against this machine, the worst of its outputs.

    ``max_lsb`` and ``rms_lsb`` are in steps of the output's scale, None for artifacts that compute in float;
    ``lsb_share`` is the share of values that differ by half a step or more. ``max_relative_error`` is the largest
    difference over the largest value of that output.
    """

    cpu: str
    samples: int
    max_lsb: float | None
    rms_lsb: float | None
    lsb_share: float | None
    max_relative_error: float

    def to_json(self) -> dict[str, Any]:
        """As ``edgekit verify --json`` prints it."""
        return {
            "cpu": self.cpu,
            "samples": self.samples,
            "max_lsb": self.max_lsb,
            "rms_lsb": self.rms_lsb,
            "lsb_share": self.lsb_share,
            "max_relative_error": self.max_relative_error,
        }


class OutputAgreement:
    """One output, summed over the samples. ``step`` is the real value of one code, None when it is not known."""

    def __init__(self, spec: TensorSpec, step: float | None, precision: Precision | None) -> None:
        self.name = spec.name
        self._codes = spec.scale is not None
        self._float = np.issubdtype(np.dtype(spec.dtype), np.floating)
        self._precision = precision
        self._step = 1.0 if self._codes else step
        self._native: list[Array] = []
        self._differences: list[Array] = []
        self._finite = True

    def update(self, native: Array, emulated: Array) -> None:
        """Add one sample."""
        self._finite &= bool(np.isfinite(emulated).all())
        self._native.append(np.float64(native).reshape(-1))
        self._differences.append(np.abs(np.float64(emulated) - np.float64(native)).reshape(-1))

    @property
    def max_relative_error(self) -> float:
        """0 when nothing differs, whatever the size of the values."""
        largest = max(float(np.abs(native).max(initial=0.0)) for native in self._native)
        difference = max(float(each.max(initial=0.0)) for each in self._differences)
        return difference / largest if largest else difference

    @property
    def in_steps(self) -> bool:
        """Whether steps are what counts: for codes, and for the floats of an artifact that computes in integers."""
        return self._codes or (self._float and self._precision in _IN_STEPS)

    def steps(self) -> tuple[float, float, float]:
        """The largest difference and the RMS, in steps, and the share of values that differ."""
        steps = np.concatenate(self._differences) / self._least_step()
        return float(steps.max(initial=0.0)), float(np.sqrt(np.mean(steps**2))), float(np.mean(steps >= 0.5))

    def shortfall(self) -> str | None:
        """What is wrong with this output, or None."""
        if not self._finite:
            return f'output "{self.name}" has NaN or infinity'
        if self.in_steps:
            return self._step_shortfall()
        if not self._float:  # indices and truths, which a rounding may turn over
            return None
        allowed = _MAX_RELATIVE_HALF if self._precision is Precision.FP16 else _MAX_RELATIVE
        if self.max_relative_error > allowed:
            return f'output "{self.name}" is {self.max_relative_error:.2g} (relative) off, at most {allowed:g} allowed'
        return None

    def _step_shortfall(self) -> str | None:
        largest, rms, share = self.steps()
        if largest <= _MAX_STEPS + _SLACK or (rms <= _MAX_RMS_STEPS and largest <= _MAX_ADDED_STEPS + _SLACK):
            return None
        return (
            f'output "{self.name}" is up to {largest:.3g} LSB off (RMS {rms:.2g}, {share:.1%} of the values); allowed '
            f"is {_MAX_STEPS:g}, or roundings that add up to an RMS of {_MAX_RMS_STEPS:g} and at most "
            f"{_MAX_ADDED_STEPS:g}"
        )

    def _least_step(self) -> float:
        """The file's own, or that of 8-bit codes for what the output holds."""
        if self._step:
            return self._step
        values = np.concatenate(self._native)
        return float(values.max(initial=0.0) - values.min(initial=0.0)) / _CODES or 1.0


def summarize(cpu: str, samples: int, outputs: list[OutputAgreement]) -> Emulated:
    """The worst of the outputs in each figure."""
    steps = [output.steps() for output in outputs if output.in_steps]
    return Emulated(
        cpu=cpu,
        samples=samples,
        max_lsb=max((largest for largest, _, _ in steps), default=None),
        rms_lsb=max((rms for _, rms, _ in steps), default=None),
        lsb_share=max((share for _, _, share in steps), default=None),
        max_relative_error=max(output.max_relative_error for output in outputs),
    )
