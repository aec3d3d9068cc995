"""How far an emulated run is from this machine's, held against edgekit/emulation/tolerance.py."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgekit.emulation.tolerance import MAX_STEPS, Tolerance
from edgekit.interface import TensorSpec
from edgekit.runtimes import Array

# Steps are compared after a division of float32 numbers: an exact step may come out as 1.0000001.
_SLACK = 1e-2

_CODES = 255
"""Steps of an 8-bit integer."""


@dataclass(frozen=True, slots=True)
class Emulated:
    """One artifact on one emulated CPU against this machine, the worst of its outputs.

    ``max_lsb`` and ``rms_lsb`` are in steps of the output's scale, None for artifacts that compute in float and where
    no scale is known; ``lsb_share`` is the share of values that differ by half a step or more. ``max_relative_error``
    is the largest difference over the largest value of that output. ``notes`` say which limit was used, unless it is
    the usual one. ``lost_db`` is how much lower the SQNR against the source model is than on this machine, on the same
    samples; None unless it was needed.
    """

    cpu: str
    samples: int
    max_lsb: float | None
    rms_lsb: float | None
    lsb_share: float | None
    max_relative_error: float
    notes: tuple[str, ...] = ()
    lost_db: float | None = None

    def counted_by(self, batch: int) -> "Emulated":
        """With the samples as a user counts them, of whom each that was run has ``batch``."""
        return replace(self, samples=self.samples * batch)

    def to_json(self) -> dict[str, Any]:
        """As ``edgekit verify --json`` prints it."""
        return {
            "cpu": self.cpu,
            "samples": self.samples,
            "max_lsb": self.max_lsb,
            "rms_lsb": self.rms_lsb,
            "lsb_share": self.lsb_share,
            "max_relative_error": self.max_relative_error,
            "notes": list(self.notes),
            "lost_db": self.lost_db,
        }


class OutputAgreement:
    """One output, summed over the samples. ``step`` is the real value of one code, None when it is not known."""

    def __init__(self, spec: TensorSpec, step: float | None, tolerance: Tolerance) -> None:
        self.name = spec.name
        self._codes = spec.scale is not None
        self._float = np.issubdtype(np.dtype(spec.dtype), np.floating)
        self._tolerance = tolerance
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
        largest, difference = self._largest(), max(float(each.max(initial=0.0)) for each in self._differences)
        return difference / largest if largest else difference

    @property
    def has_scale(self) -> bool:
        """Whether the output is of integers whose step is known."""
        return self._in_steps and self._step is not None

    @property
    def is_added(self) -> bool:
        """Whether it is more than one step off, which only roundings that add up may be."""
        return self._in_steps and self.steps()[0] > MAX_STEPS + _SLACK

    def steps(self) -> tuple[float, float, float]:
        """The largest difference and the RMS, in steps, and the share of values that differ."""
        steps = np.concatenate(self._differences) / (self._step or self._largest() / _CODES or 1.0)
        return float(steps.max(initial=0.0)), float(np.sqrt(np.mean(steps**2))), float(np.mean(steps >= 0.5))

    def shortfall(self) -> str | None:
        """What is wrong with this output, or None."""
        if not self._finite:
            return f'output "{self.name}" has NaN or infinity'
        if self._in_steps:
            return self._step_shortfall()
        if self._counts and self.max_relative_error > self._tolerance.relative:
            return (
                f'output "{self.name}" is {self.max_relative_error:.2g} (relative) off, '
                f"at most {self._tolerance.relative:.2g} allowed"
            )
        return None

    def notes(self) -> list[str]:
        """What to say of an output that passes: which limit it was held against, unless it is the usual one."""
        if self.is_added:
            largest, rms, share = self.steps()
            return [
                f'output "{self.name}" is up to {self._spell(largest)} off (RMS {rms:.2f}, {share:.0%} of the values)'
            ]
        if self._in_steps and self._step is None:
            return [f'no scale of output "{self.name}" in the file: a step is taken as 1/{_CODES} of the largest value']
        differ = float(np.mean(np.concatenate(self._differences) > 0))
        if not self._counts and differ:
            return [f'output "{self.name}" has other indices in {differ:.1%} of the values, which is not judged']
        return []

    @property
    def _counts(self) -> bool:
        """Indices and truths do not: a rounding may turn them over."""
        return self._codes or self._float

    @property
    def _in_steps(self) -> bool:
        """For codes, and for the floats of an artifact that computes in integers."""
        return self._codes or (self._float and self._tolerance.integer)

    def _step_shortfall(self) -> str | None:
        largest, rms, share = self.steps()
        if largest <= MAX_STEPS + _SLACK:
            return None
        added = self._tolerance.added
        told = f'output "{self.name}" is up to {self._spell(largest)} off (RMS {rms:.2g}, {share:.1%} of the values)'
        if added is None:
            return f"{told}; at most {MAX_STEPS:g} allowed"
        if largest > min(added.steps + _SLACK, added.peak * rms) or rms > added.rms:
            return (
                f"{told}; at most {MAX_STEPS:g} allowed, or roundings that add up: {added.steps:g} "
                f"at RMS {added.rms:g} and no more than {added.peak:g} times the RMS"
            )
        return None

    def _spell(self, steps: float) -> str:
        return f"{steps:.3g} LSB" if self.has_scale else f"{steps:.3g}/{_CODES} of the largest value"

    def _largest(self) -> float:
        return max(float(np.abs(native).max(initial=0.0)) for native in self._native)


def summarize(cpu: str, samples: int, outputs: Sequence[OutputAgreement], notes: Sequence[str] = ()) -> Emulated:
    """The worst of the outputs in each figure; ``notes`` come before theirs."""
    steps = [output.steps() for output in outputs if output.has_scale]
    return Emulated(
        cpu=cpu,
        samples=samples,
        max_lsb=max((largest for largest, _, _ in steps), default=None),
        rms_lsb=max((rms for _, rms, _ in steps), default=None),
        lsb_share=max((share for _, _, share in steps), default=None),
        max_relative_error=max(output.max_relative_error for output in outputs),
        notes=(*notes, *(note for output in outputs for note in output.notes())),
    )
