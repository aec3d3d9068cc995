"""On which samples artifacts are compared again: the user's, else those of the manifest if they are still the same."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.data import open_samples
from edgekit.data.iterator import is_iterator_spec
from edgekit.errors import InputError, UsageError
from edgekit.graph.scores import ClassScores
from edgekit.interface import TensorSpec
from edgekit.release.manifest import DataRecord, Manifest
from edgekit.release.reading import read_evaluation
from edgekit.verification.random_data import random_samples
from edgekit.verification.verification import LabelledSamples

_RANDOM_SAMPLES = 16


@dataclass(frozen=True, slots=True)
class ChosenData:
    """``kind`` is "given", "evaluation", "calibration" or "random"; ``path`` and ``sha256`` are None for random."""

    kind: str
    path: str | None
    sha256: str | None
    samples: LabelledSamples

    @property
    def count(self) -> int:
        """As the user counts them, whatever the model's batch is."""
        return len(self.samples) * self.samples.batch

    def to_json(self) -> dict[str, Any]:
        """As ``edgekit verify --json`` prints it."""
        return {"kind": self.kind, "path": self.path, "sha256": self.sha256, "samples": self.count}

    def spell(self) -> str:
        """``700 samples of the manifest's evaluation data, eval.npz``."""
        if self.path is None:
            return f"{self.count} random samples, as there is no other data"
        whose = "of" if self.kind == "given" else f"of the manifest's {self.kind} data,"
        return f"{self.count} samples {whose} {self.path}"


def choose_data(
    manifest: Manifest,
    inputs: Sequence[TensorSpec],
    scores: ClassScores | None,
    *,
    given: str | None,
    limit: int | None,
    note: Callable[[str], None],
) -> ChosenData:
    """The data to compare on, ``limit`` samples of it at most; ``note`` is told why recorded data is passed over.

    ``scores`` are the source model's, for labels; None when they are not needed. Raises DataError or ProfileError for
    ``given`` data that cannot be used.
    """
    # A lone column without a Sigmoid may be a regression's, with numbers of its own in "y".
    classes = scores.classes if scores is not None and (scores.threshold is None or scores.plausible) else None
    if given is not None:
        samples = open_samples(given, inputs, limit=limit, classes=classes)
        return ChosenData("given", given, samples.sha256, samples)
    for kind, record in _recorded(manifest):
        path = manifest.folder / record.path
        if not path.exists() and is_iterator_spec(record.path):
            # Importing a module because a manifest says so would run whatever lies there.
            note(f"the {kind} data was made by {record.path}, which is not run by itself: give it as --data")
            continue
        path = path.resolve()
        try:
            used = limit if limit is not None else _recorded_limit(manifest, kind)
            samples = open_samples(path, inputs, limit=used, classes=classes)
            digest = samples.sha256
        except (InputError, UsageError) as error:
            note(f"the manifest's {kind} data is not used: {error}")
            continue
        if digest == record.sha256:
            return ChosenData(kind, str(path), digest, samples)
        note(f"the manifest's {kind} data is not used: {path} has changed since the export")
    count = min(limit or _RANDOM_SAMPLES, _RANDOM_SAMPLES)
    return ChosenData("random", None, None, random_samples(inputs, count, manifest.model.outputs))


def _recorded(manifest: Manifest) -> Iterator[tuple[str, DataRecord]]:
    evaluation = read_evaluation(manifest)
    if evaluation is not None:
        yield "evaluation", evaluation
    if manifest.calibration is not None:
        yield "calibration", manifest.calibration


def _recorded_limit(manifest: Manifest, kind: str) -> int | None:
    """How many samples the export took: --samples is for the calibration set alone."""
    return manifest.settings.get("samples") if kind == "calibration" else None


def spread(samples: LabelledSamples, count: int) -> list[Any]:
    """``count`` of the samples, evenly over the set; of batches as many as that fills, at least one."""
    taken = min(max(1, count // samples.batch), len(samples))
    chosen = {index * len(samples) // taken for index in range(taken)}
    return [sample for index, sample in enumerate(samples) if index in chosen]
