"""What is known of one artifact while the samples go by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.exporters import ExportedInterface
from edgekit.graph.scores import ClassScores
from edgekit.interface import Precision
from edgekit.profiles.gate import Gate
from edgekit.runtimes import Array, Delegation
from edgekit.runtimes.process import RuntimeProcess
from edgekit.verification.adaptation import from_artifact, to_artifact
from edgekit.verification.metrics import (
    Accuracy,
    OutputError,
    PartVerification,
    Share,
    Verification,
    top1_classes,
)
from edgekit.verification.output_parts import OutputPart


@dataclass(frozen=True, slots=True)
class Subject:
    """An artifact to verify. Those of one ``target`` are compared with each other; ``label`` names it in messages."""

    target: str
    format: str
    path: Path
    interface: ExportedInterface
    gate: Gate
    label: str
    precision: Precision | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """An artifact that passed. ``delegation`` is None when its runtime cannot tell."""

    subject: Subject
    verification: Verification
    delegation: Delegation | None


@dataclass(frozen=True, slots=True)
class Expected:
    """The source model's outputs for one sample; ``classes`` are its top-1 classes when it has ``scores``."""

    index: int
    outputs: Mapping[str, Array]
    scores: ClassScores | None
    labels: Array | None

    @property
    def classes(self) -> Array | None:
        """Shape (batch,), or None."""
        return None if self.scores is None else top1_classes(self.scores.ranked(self.outputs[self.scores.name]))


class Comparison:
    """One artifact in its running process, with its metrics."""

    def __init__(self, subject: Subject, process: RuntimeProcess, parts: Sequence[OutputPart] = ()) -> None:
        self.subject = subject
        self.delegation: Delegation | None = None
        self.classes: Array | None = None
        self._process = process
        self._error = OutputError()
        self._part_errors = {part: OutputError() for part in parts}
        self._agreement = Share()
        self._accuracy, self._accuracy_float = Accuracy(), Accuracy()
        self._formats: dict[str, Share] = {}
        self._outputs: Mapping[str, Array] = {}
        self._format_errors: dict[str, OutputError] = {}
        self._samples = 0

    def interface_fault(self) -> str | None:
        """What differs between the file's inputs and outputs and those the exporter promised; None if nothing does."""
        interface = self.subject.interface
        for promised, found in ((interface.inputs, self._process.inputs), (interface.outputs, self._process.outputs)):
            shapes, real = ({spec.name: spec.shape for spec in specs} for specs in (promised, found))
            if shapes != real:
                return f"the file has the tensors {real}, expected {shapes}"
        return None

    def submit(self, sample: Mapping[str, Array]) -> None:
        """Start one sample of the source model's inputs."""
        self._process.submit(to_artifact(sample, self.subject.interface))

    def collect(self, expected: Expected) -> str | None:
        """Wait for the sample and add it to the metrics; returns what is wrong when an output is not finite."""
        outputs = from_artifact(self._process.collect(), self.subject.interface)
        for name, reference in expected.outputs.items():
            fault = _fault(name, outputs[name], reference, expected.index)
            if fault is not None:
                return fault
            self._error.update(reference, outputs[name])
        for part, error in self._part_errors.items():
            error.update(part.of(expected.outputs), part.of(outputs))
        self._samples += 1
        self._outputs = outputs
        if expected.scores is not None:
            self._classify(expected, expected.scores)
        return None

    def _classify(self, expected: Expected, scores: ClassScores) -> None:
        ranked = scores.ranked(self._outputs[scores.name])
        self.classes = top1_classes(ranked)
        self._agreement.update(self.classes == expected.classes)
        if expected.labels is not None:
            self._accuracy.update(ranked, expected.labels)
            self._accuracy_float.update(scores.ranked(expected.outputs[scores.name]), expected.labels)

    def agree(self, other: "Comparison") -> None:
        """Compare the last sample's outputs and classes with those of another format, for both."""
        mine, theirs = self.subject.format, other.subject.format
        if theirs not in self._format_errors:
            self._format_errors[theirs] = other._format_errors[mine] = OutputError()
        for name, output in self._outputs.items():
            self._format_errors[theirs].update(output, other._outputs[name])
        if self.classes is not None and other.classes is not None:
            if theirs not in self._formats:
                self._formats[theirs] = other._formats[mine] = Share()
            self._formats[theirs].update(self.classes == other.classes)

    def submit_delegation(self) -> None:
        """Ask the runtime what it accelerates."""
        self._process.submit_delegation()

    def collect_delegation(self) -> None:
        """Wait for the answer."""
        self.delegation = self._process.collect_delegation()

    def verification(self, batch: int = 1) -> Verification:
        """The metrics of the samples so far, of which each collected one was ``batch``."""
        return Verification(
            runtime=f"{self._process.runtime} {self._process.version}",
            samples=self._samples * batch,
            sqnr_db=self._error.sqnr_db,
            cosine=self._error.cosine,
            max_abs_error=self._error.max_abs_error,
            top1_agreement=self._agreement.percent,
            top1=self._accuracy.top1,
            top1_float=self._accuracy_float.top1,
            top5=self._accuracy.top5,
            top5_float=self._accuracy_float.top5,
            format_agreement={
                name: share.percent for name, share in sorted(self._formats.items()) if share.percent is not None
            },
            format_cosine={name: error.cosine for name, error in sorted(self._format_errors.items())},
            parts=tuple(
                PartVerification(part.output, part.place, error.sqnr_db, error.cosine, error.max_abs_error, part.scores)
                for part, error in self._part_errors.items()
            ),
        )


def _fault(name: str, output: Array, reference: Array, index: int) -> str | None:
    if output.shape != reference.shape:
        return f'output "{name}" has shape {output.shape}, expected {reference.shape}'
    if not np.isfinite(output).all():
        return f'output "{name}" has NaN or infinity on sample {index}, expected finite numbers'
    return None
