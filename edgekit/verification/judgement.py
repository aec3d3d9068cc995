"""Hold what was measured against the gate; every shortfall is one sentence."""

from collections.abc import Iterator

from edgekit.profiles.gate import Gate
from edgekit.verification.metrics import Verification


def shortfalls(verification: Verification, gate: Gate, *, classifies: bool = True) -> list[str]:
    """What ``verification`` misses of ``gate``: metric, what it got, what was wanted. Empty when it passes.

    Unless the model ``classifies``, its top-1 classes are reported, but mean nothing.
    """
    top1 = [*_accuracy(verification, gate), *_format_agreement(verification, gate)] if classifies else []
    return [*top1, *_similarity(verification, gate), *_formats(verification, gate)]


def _accuracy(verification: Verification, gate: Gate) -> Iterator[str]:
    top1, top1_float = verification.top1, verification.top1_float
    if top1 is not None and top1_float is not None:
        drop = top1_float - top1
        if drop > gate.max_top1_drop:
            yield (
                f"top-1 {top1:.2f} % is {drop:.2f} points below the source's {top1_float:.2f} %, "
                f"at most {gate.max_top1_drop:g} allowed"
            )
    elif verification.top1_agreement is not None and verification.top1_agreement < gate.min_top1_agreement:
        yield f"top-1 agreement {verification.top1_agreement:.2f} %, at least {gate.min_top1_agreement:g} % wanted"


def _similarity(verification: Verification, gate: Gate) -> Iterator[str]:
    if verification.cosine < gate.min_cosine:
        sqnr = f"SQNR {verification.sqnr_db:.1f} dB"
        yield f"cosine {verification.cosine:.4f} ({sqnr}), at least {gate.min_cosine:g} wanted"


def _formats(verification: Verification, gate: Gate) -> Iterator[str]:
    for other, cosine in sorted(verification.format_cosine.items()):
        if cosine < gate.min_format_cosine:
            yield f"cosine with {other} {cosine:.4f}, at least {gate.min_format_cosine:g} wanted"


def _format_agreement(verification: Verification, gate: Gate) -> Iterator[str]:
    for other, percent in sorted(verification.format_agreement.items()):
        if percent < gate.min_format_agreement:
            yield f"top-1 agreement with {other} {percent:.2f} %, at least {gate.min_format_agreement:g} % wanted"
