"""How far an artifact's outputs are from the source model's, summed sample by sample in constant memory."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from edgekit.runtimes import Array

SQNR_LIMIT_DB = 200.0
"""The SQNR of outputs without any difference (JSON has no infinity); float32 itself ends near 150 dB."""

_TOP_K = 5


@dataclass(frozen=True, slots=True)
class PartVerification:
    """``sqnr_db``, ``cosine`` and ``max_abs_error`` of one output, or of what a Concat joined to a ``part`` of it.

    ``part`` is a slice (``[:, 4:84]``), or "" for the whole output. ``scores``: a Softmax or a Sigmoid made it; the
    manifest does not say.
    """

    output: str
    part: str
    sqnr_db: float
    cosine: float
    max_abs_error: float
    scores: bool = False

    @property
    def spelt(self) -> str:
        """``output "boxes"``, ``output "y"[:, 4:84]``."""
        return f'output "{self.output}"{self.part}'

    def to_json(self) -> dict[str, Any]:
        """One of the ``outputs`` of the manifest's ``verification``."""
        place = {"part": self.part} if self.part else {}
        figures = {"sqnr_db": self.sqnr_db, "cosine": self.cosine, "max_abs_error": self.max_abs_error}
        return {"name": self.output, **place, **figures}


@dataclass(frozen=True, slots=True)
class Verification:
    """What the comparison of an artifact with the source model found.

    ``sqnr_db`` = 10 log10(sum y² / sum (y - ŷ)²) and ``cosine`` are over all outputs and samples, y from the source
    model in float. ``top1_agreement``, ``top1``, ``top1_float``, ``top5`` and ``top5_float`` are percent; None when the
    model is no classifier, and all but the first None without labels. ``format_agreement`` is the percentage of samples
    on which this artifact's top-1 class is that of the same target's artifact in another format, by format;
    ``format_cosine`` is the cosine between their outputs, for every model. ``parts`` are the single outputs, and what
    was joined to one, where there are several: a large part hides in the sums what becomes of a small one.
    """

    runtime: str
    samples: int
    sqnr_db: float
    cosine: float
    max_abs_error: float
    top1_agreement: float | None = None
    top1: float | None = None
    top1_float: float | None = None
    top5: float | None = None
    top5_float: float | None = None
    format_agreement: Mapping[str, float] = field(default_factory=dict)
    format_cosine: Mapping[str, float] = field(default_factory=dict)
    parts: tuple[PartVerification, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The manifest's ``verification``; what labels would tell is left out when there are none."""
        document: dict[str, Any] = {
            "runtime": self.runtime,
            "samples": self.samples,
            "sqnr_db": self.sqnr_db,
            "cosine": self.cosine,
            "max_abs_error": self.max_abs_error,
            "top1_agreement": self.top1_agreement,
        }
        labelled = {name: getattr(self, name) for name in ("top1", "top1_float", "top5", "top5_float")}
        document |= {name: value for name, value in labelled.items() if value is not None}
        if self.format_agreement:
            document["format_agreement"] = dict(self.format_agreement)
        if self.format_cosine:
            document["format_cosine"] = dict(self.format_cosine)
        if self.parts:
            document["outputs"] = [part.to_json() for part in self.parts]
        return document


class OutputError:
    """SQNR, cosine and largest error of outputs against their reference.

    The sums are exact fractions, so that the order of the samples changes nothing, not even the last digit.
    """

    def __init__(self) -> None:
        self._signal = self._noise = self._product = self._power = Fraction(0)
        self.max_abs_error = 0.0

    def update(self, reference: Array, artifact: Array) -> None:
        """Add one output of one sample; both finite and of one shape."""
        y, y_hat = np.float64(reference).reshape(-1), np.float64(artifact).reshape(-1)
        noise = y - y_hat
        self._signal += Fraction(float(y @ y))
        self._noise += Fraction(float(noise @ noise))
        self._product += Fraction(float(y @ y_hat))
        self._power += Fraction(float(y_hat @ y_hat))
        self.max_abs_error = max(self.max_abs_error, float(np.abs(noise).max(initial=0.0)))

    @property
    def sqnr_db(self) -> float:
        """Decibels, within ± SQNR_LIMIT_DB; the lower end when the reference is all zeros and the artifact is not."""
        if not self._noise:
            return SQNR_LIMIT_DB
        if not self._signal:
            return -SQNR_LIMIT_DB
        decibels = 10 * (_log10(self._signal) - _log10(self._noise))
        return min(max(decibels, -SQNR_LIMIT_DB), SQNR_LIMIT_DB)

    @property
    def cosine(self) -> float:
        """1 for equal directions; two zero vectors are equal, one zero vector is like nothing (0)."""
        if not self._signal or not self._power:
            return float(self._signal == self._power)
        if not self._product:
            return 0.0
        exponent = _log10(abs(self._product)) - (_log10(self._signal) + _log10(self._power)) / 2
        return math.copysign(min(1.0, 10.0**exponent), self._product)


def _log10(positive: Fraction) -> float:
    # Python's integers have no largest value, its floats do.
    return math.log10(positive.numerator) - math.log10(positive.denominator)


class Share:
    """The percentage of samples for which something is true; None before the first."""

    def __init__(self) -> None:
        self._true = self._all = 0

    def update(self, truths: Array) -> None:
        """Add a row of booleans."""
        self._true += int(np.count_nonzero(truths))
        self._all += truths.size

    @property
    def percent(self) -> float | None:
        """0..100."""
        return 100.0 * self._true / self._all if self._all else None


class Accuracy:
    """Top-1 and top-5 of class scores (batch, classes) against labels (batch,)."""

    def __init__(self) -> None:
        self._top1, self._top5 = Share(), Share()

    def update(self, scores: Array, labels: Array) -> None:
        """Add one sample. Equal scores rank by class number, as argmax does."""
        ranked = np.argsort(-np.float64(scores), axis=1, kind="stable")[:, :_TOP_K]
        hits = ranked == labels.reshape(-1, 1)
        self._top1.update(hits[:, 0])
        if scores.shape[1] > _TOP_K:
            self._top5.update(hits.any(axis=1))

    @property
    def top1(self) -> float | None:
        """Percent; None without samples."""
        return self._top1.percent

    @property
    def top5(self) -> float | None:
        """Percent; None without samples, and for five classes or fewer."""
        return self._top5.percent


def top1_classes(scores: Array) -> Array:
    """The classes with the highest scores (batch,), the first of equals, of scores (batch, classes)."""
    return np.asarray(np.argmax(scores, axis=1))
