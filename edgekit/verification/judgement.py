"""Hold what was measured against the gate; every shortfall is one sentence."""

from collections.abc import Iterator
from dataclasses import dataclass

from edgekit.profiles.gate import Gate
from edgekit.verification.metrics import Verification

_SCORES_STEP = 1 / 128
"""Two steps of scores in 8 bits: those of a detector that sees nothing may all be 0."""

_NOTHING = 1e-6
"""What an output that should be zero may be instead."""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What is wrong with an artifact: a ``metric``, the ``value`` it has, and what was ``wanted``.

    ``other``: the format of the same target that it was compared with. A fault that is no figure (a crash, NaN) is all
    in ``metric``.
    """

    metric: str
    value: str = ""
    wanted: str = ""
    other: str = ""

    @property
    def sentence(self) -> str:
        """``cosine 0.9400 (SQNR 9.3 dB), at least 0.95 wanted``."""
        return f"{self.metric} {self.value}, {self.wanted}" if self.value else self.metric


def shortfalls(verification: Verification, gate: Gate, *, classifies: bool = True) -> list[Shortfall]:
    """What ``verification`` misses of ``gate``: metric, what it got, what was wanted. Empty when it passes.

    Unless the model ``classifies``, its top-1 classes are reported, but mean nothing.
    """
    top1 = [*_accuracy(verification, gate), *_format_agreement(verification, gate)] if classifies else []
    return [*top1, *_similarity(verification, gate), *_outputs(verification, gate), *_formats(verification, gate)]


def _accuracy(verification: Verification, gate: Gate) -> Iterator[Shortfall]:
    top1, top1_float = verification.top1, verification.top1_float
    if top1 is not None and top1_float is not None:
        drop = top1_float - top1
        if drop > gate.max_top1_drop:
            value = f"{top1:.2f} % is {drop:.2f} points below the source's {top1_float:.2f} %"
            yield Shortfall("top-1", value, f"at most {gate.max_top1_drop:g} allowed")
    elif verification.top1_agreement is not None and verification.top1_agreement < gate.min_top1_agreement:
        wanted = f"at least {gate.min_top1_agreement:g} % wanted"
        yield Shortfall("top-1 agreement", f"{verification.top1_agreement:.2f} %", wanted)


def _similarity(verification: Verification, gate: Gate) -> Iterator[Shortfall]:
    if verification.cosine < gate.min_cosine:
        value = f"{verification.cosine:.4f} (SQNR {verification.sqnr_db:.1f} dB)"
        yield Shortfall("cosine", value, f"at least {gate.min_cosine:g} wanted")


def _outputs(verification: Verification, gate: Gate) -> Iterator[Shortfall]:
    if verification.cosine < gate.min_cosine:
        return
    for part in verification.parts:
        if part.cosine < gate.min_output_cosine and part.max_abs_error > (_SCORES_STEP if part.scores else _NOTHING):
            value = f"{part.cosine:.4f} (SQNR {part.sqnr_db:.1f} dB)"
            yield Shortfall(f"cosine of {part.spelt}", value, f"at least {gate.min_output_cosine:g} wanted")


def _formats(verification: Verification, gate: Gate) -> Iterator[Shortfall]:
    for other, cosine in sorted(verification.format_cosine.items()):
        if cosine < gate.min_format_cosine:
            wanted = f"at least {gate.min_format_cosine:g} wanted"
            yield Shortfall(f"cosine with {other}", f"{cosine:.4f}", wanted, other)


def _format_agreement(verification: Verification, gate: Gate) -> Iterator[Shortfall]:
    for other, percent in sorted(verification.format_agreement.items()):
        if percent < gate.min_format_agreement:
            wanted = f"at least {gate.min_format_agreement:g} % wanted"
            yield Shortfall(f"top-1 agreement with {other}", f"{percent:.2f} %", wanted, other)
