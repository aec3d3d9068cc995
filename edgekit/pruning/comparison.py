"""What the artifacts were before pruning and are after it: size, accuracy, and latency where it can be measured."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import onnx_ir as ir

from edgekit.artifacts import StagedArtifact
from edgekit.building import PathOf
from edgekit.exporters import ExportOptions, find_exporter
from edgekit.interface import Precision
from edgekit.passes.quantize import QuantizationScheme, quantize
from edgekit.profiles.gate import Gate
from edgekit.progress import Progress
from edgekit.pruning.timing import CAREFUL, Paired, Stopwatch
from edgekit.verification import Subject, Verification, Verified, verify
from edgekit.verification.verification import LabelledSamples

REPRODUCIBLE = "SOURCE_DATE_EPOCH"

_ANYTHING = Gate.of_max_drop(100)
"""What is only shown must load and give finite outputs, nothing more."""


class Speed(StrEnum):
    """What the timing tells of the pruned artifact, beside the unpruned one."""

    FASTER = "faster"
    NOT_SHOWN = "not shown to be faster"
    NOT_FASTER = "not faster"


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one artifact; ``median_ms`` None: its target's accelerator is not here, or the build is to be reproducible."""

    bytes: int
    verification: Verification
    median_ms: float | None = None

    def to_json(self) -> dict[str, Any]:
        """For the manifest: what the artifact's own entry does not say of the unpruned one, too."""
        seen = self.verification
        document: dict[str, Any] = {"bytes": self.bytes, "sqnr_db": seen.sqnr_db}
        figures = {"top1_agreement": seen.top1_agreement, "top1": seen.top1, "median_ms": self.median_ms}
        return document | {name: value for name, value in figures.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ComparedArtifact:
    """One artifact before and after; ``ratio`` is the latency after over that before, as measured in turn."""

    path: str
    before: Figures
    after: Figures
    ratio: float | None = None
    ratio_ci: tuple[float, float] | None = None

    @property
    def speed(self) -> Speed | None:
        """Faster beyond doubt when the interval ends below 1; None when nothing was timed."""
        if self.ratio is None:
            return None
        if self.ratio >= 1:
            return Speed.NOT_FASTER
        return Speed.FASTER if self.ratio_ci is None or self.ratio_ci[1] < 1 else Speed.NOT_SHOWN

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        document: dict[str, Any] = {
            "path": self.path,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
        }
        if self.ratio is not None:
            document["latency_ratio"] = self.ratio
            document["latency_ratio_ci"] = None if self.ratio_ci is None else list(self.ratio_ci)
            document["speed"] = str(self.speed)
        return document


@dataclass(frozen=True, slots=True)
class Comparison:
    """``float_``: the pruned float network in ONNX Runtime, against the source."""

    float_: Verification
    artifacts: tuple[ComparedArtifact, ...]

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"float": self.float_.to_json(), "artifacts": [each.to_json() for each in self.artifacts]}

    def notes(self) -> Iterator[str]:
        """What a user should read: where pruning does not pay, or is not shown to."""
        for each in self.artifacts:
            if each.ratio is None or each.speed is Speed.FASTER:
                continue
            interval = "" if each.ratio_ci is None else f" ({each.ratio_ci[0]:.2f} to {each.ratio_ci[1]:.2f})"
            told = "pruning does not pay here" if each.speed is Speed.NOT_FASTER else "not shown to be faster"
            yield f"{each.path}: {told}: {each.ratio:.2f}x of the unpruned latency{interval}"


@dataclass(frozen=True, slots=True)
class Reference:
    """What artifacts are held against: the float source ``model``, on ``samples``, so many ``threads``."""

    model: ir.Model
    samples: LabelledSamples
    threads: int
    progress: Progress


def compare(
    unpruned: Sequence[StagedArtifact],
    verified: Sequence[tuple[StagedArtifact, Verified]],
    before: Sequence[Verification],
    float_: Verification,
    paired: Sequence[Paired | None],
    *,
    classifies: bool,
) -> Comparison:
    """Put the figures side by side; all sequences have one entry per artifact.

    Unless the source ``classifies`` (see ``is_classifier``), its top-1 classes mean nothing, and are left out.
    """

    def meant(seen: Verification) -> Verification:
        return seen if classifies else replace(seen, top1_agreement=None, format_agreement={})

    artifacts = []
    for old, (new, result), was, times in zip(unpruned, verified, before, paired, strict=True):
        artifacts.append(
            ComparedArtifact(
                path=new.path,
                before=Figures(_size(old), meant(was), None if times is None else times.before_ms),
                after=Figures(_size(new), meant(result.verification), None if times is None else times.after_ms),
                ratio=None if times is None else times.ratio,
                ratio_ci=None if times is None else times.ratio_ci,
            )
        )
    return Comparison(meant(float_), tuple(artifacts))


def verify_unpruned(
    unpruned: Sequence[StagedArtifact],
    pruned: ir.Model,
    path_of: PathOf,
    reference: Reference,
) -> tuple[list[Verification], Verification]:
    """What the unpruned artifacts, and the ``pruned`` float graph in ONNX Runtime, are against the source.

    Raises GateError when one of them crashes or gives NaN.
    """
    subjects = [_subject(artifact) for artifact in unpruned]
    subjects.append(_float_subject(pruned, path_of))
    samples = reference.samples
    with reference.progress.stage("verifying the unpruned artifacts", len(samples)) as advance:
        verified = verify(
            subjects,
            reference.model,
            samples,
            threads=reference.threads,
            advance=advance,
            advice="leave the pruning out",
        )
    *before, float_ = [result.verification for result in verified]
    return before, float_


def time_pairs(
    unpruned: Sequence[StagedArtifact],
    artifacts: Sequence[StagedArtifact],
    stopwatch: Stopwatch,
    progress: Progress,
) -> list[Paired | None]:
    """Time each artifact in turn with its unpruned twin; None where its accelerator is not on this machine."""
    here = [_runs_here(artifact) for artifact in artifacts]
    with progress.stage("timing, before and after", CAREFUL.sessions * sum(here)) as advance:
        return [
            stopwatch.pair(old, new, CAREFUL, advance) if runs else None
            for old, new, runs in zip(unpruned, artifacts, here, strict=True)
        ]


def is_reproducible() -> bool:
    """Whether the manifest must not depend on the clock: no latency is in it then."""
    return bool(os.environ.get(REPRODUCIBLE))


def _runs_here(artifact: StagedArtifact) -> bool:
    return artifact.profile.runtimes[artifact.format].is_asked


def _subject(artifact: StagedArtifact) -> Subject:
    return Subject(
        target=artifact.profile.name,
        format=artifact.format,
        path=artifact.staged_path,
        interface=artifact.interface,
        gate=_ANYTHING,
        label=f"unpruned {artifact.path}",
        precision=artifact.precision,
    )


def _float_subject(pruned: ir.Model, path_of: PathOf) -> Subject:
    path = path_of("float/pruned.onnx")
    network = quantize(pruned, QuantizationScheme(Precision.FP32))
    interface = find_exporter("onnx").export(network, ExportOptions(Precision.FP32), path)
    return Subject("float", "onnx", path, interface, _ANYTHING, "the pruned float network", Precision.FP32)


def _size(artifact: StagedArtifact) -> int:
    return artifact.staged_path.stat().st_size
