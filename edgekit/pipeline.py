"""The whole flow on one page: import, canonicalize, prune, recover, quantize, export, verify, publish."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Unpack

import onnx_ir as ir

from edgekit.artifacts import StagedArtifact
from edgekit.building import Builder, precision_of
from edgekit.data import Samples, open_samples
from edgekit.errors import DataError, GateError, ProfileError, UnsupportedError, UsageError
from edgekit.exporters import describe_unsupported, find_exporter
from edgekit.importers import ImportedModel, import_model
from edgekit.importers.sniff import identify
from edgekit.interface import IoType, Precision
from edgekit.passes.canonicalize import canonicalize
from edgekit.profiles.gate import Gate
from edgekit.profiles.target import Target, load_target
from edgekit.pruning.explanation import Explanation
from edgekit.pruning.requirements import require_pruning
from edgekit.pruning.stages import Pruning
from edgekit.release.manifest import FILE_NAME, Manifest
from edgekit.release.records import record
from edgekit.release.staging import staging
from edgekit.settings import ExportKeywords, ExportSettings
from edgekit.verification import Subject, Verified, find_scores, is_classifier, random_samples, verify
from edgekit.verification.verification import EXPORT_ADVICE, LabelledSamples

_RANDOM_SAMPLES = 16
"""Without data the artifacts are compared with the source on this many seeded random samples."""


def export(model: str | PathLike[str], targets: str | Sequence[str], **keywords: Unpack[ExportKeywords]) -> Manifest:
    """Turn ``model`` into verified artifacts for every target; see :class:`ExportKeywords` for the keywords.

    Writes ``OUT/<target>/<name>.tflite|.mnn|.onnx`` and ``OUT/manifest.json``, all or nothing; returns the manifest.

    Raises UsageError, ModelError, DataError, ProfileError or DependencyError for what cannot be used, UnsupportedError
    when a format cannot express the model, and GateError when an artifact fails verification.
    """
    settings = ExportSettings.of(Path(model), keywords)
    profiles = _load_targets(targets)
    _require_int8_for_its_interface(profiles, settings)
    require_pruning(profiles, settings)
    identify(Path(model))  # a path that is no model is told before anything that it would need
    _require_calibration(profiles, settings)
    with staging(settings.out) as staged:
        source = _import(Path(model), settings)
        samples, evaluation = _open_data(source, settings)
        graph = _canonicalize(source, settings)
        _require_expressible(graph, profiles)
        builder = Builder(profiles, samples, settings)
        pruning = Pruning(source, graph, builder, settings.pruning, staged) if settings.pruning else None
        network = pruning.prune_and_recover() if pruning else graph
        artifacts = builder.build(network, staged.path)  # calibrate, quantize, write
        judges = _judges(source, samples, evaluation)
        explanation = pruning.explain() if pruning else Explanation("", EXPORT_ADVICE)
        verified = _verify(artifacts, source, judges, settings, explanation)
        compared = pruning.compare(verified, judges) if pruning else None
        manifest = record(source, graph, (samples, evaluation), verified, settings, compared)
        manifest.write(staged.path(FILE_NAME))
        staged.publish()
    return manifest


def _load_targets(names: str | Sequence[str]) -> list[Target]:
    names = [names] if isinstance(names, str) else names
    profiles: dict[str, Target] = {}
    for name in names:
        profile = load_target(name)
        other = profiles.setdefault(profile.name, profile)
        if other.path != profile.path:
            raise ProfileError(f"{profile.path} and {other.path}: both are called {profile.name}; rename one of them")
    if not profiles:
        raise UsageError("no target; expected at least one --target NAME (edgekit targets lists them)")
    return list(profiles.values())


def _require_calibration(profiles: Sequence[Target], settings: ExportSettings) -> None:
    """Before any work is done: static int8 cannot do without samples."""
    static = [profile.name for profile in profiles if precision_of(profile, settings) is Precision.INT8]
    if static and settings.calibration is None:
        raise DataError(
            f"target {static[0]}: static int8 needs calibration data: give --calibration PATH, "
            "or --precision int8-weights, int8-dynamic or fp16, which need none"
        )


def _require_int8_for_its_interface(profiles: Sequence[Target], settings: ExportSettings) -> None:
    for profile in profiles:
        precision = precision_of(profile, settings)
        if settings.io is IoType.INT8 and precision is not Precision.INT8:
            raise UsageError(f"--io int8: only static int8 has integer inputs; {profile.name} is to be {precision}")


def _require_expressible(graph: ir.Model, profiles: Sequence[Target]) -> None:
    """Before the long work: what TFLite's dry run finds, and then what the other formats lack too, all at once.

    The other formats are asked only then: MNN's answer costs a conversion.
    """
    formats = dict.fromkeys(name for profile in profiles for name in profile.formats)
    if "tflite" in formats and find_exporter("tflite").unsupported(graph):
        missing = {name: find_exporter(name).unsupported(graph) for name in formats}
        raise UnsupportedError("; ".join(describe_unsupported(name, nodes) for name, nodes in missing.items() if nodes))


def _import(model: Path, settings: ExportSettings) -> ImportedModel:
    with settings.progress.stage(f"importing {model.name}"):
        return import_model(model, input_shapes=settings.input_shapes)


def _open_data(source: ImportedModel, settings: ExportSettings) -> tuple[Samples | None, Samples | None]:
    samples = evaluation = None
    scores = find_scores(source.model)
    if settings.eval is not None and scores is None:
        outputs = ", ".join(f"{output.name} {list(output.shape)}" for output in source.outputs)
        raise DataError(
            f"{settings.eval}: labels cannot judge this model, whose outputs are {outputs}; expected one output of "
            "class scores (batch, classes), or (batch, 1): leave --eval out"
        )
    if settings.calibration is not None:
        # A lone column without a Sigmoid may be a regression's, with numbers of its own in "y".
        classes = scores.classes if scores is not None and (scores.threshold is None or scores.plausible) else None
        samples = open_samples(settings.calibration, source.inputs, limit=settings.samples, classes=classes)
    if settings.eval is not None and scores is not None:
        evaluation = open_samples(settings.eval, source.inputs, classes=scores.classes)
        if evaluation.labels is None:
            raise DataError(f'{settings.eval}: --eval needs labels; expected them as "y", or one sub-folder per class')
    return samples, evaluation


def _canonicalize(source: ImportedModel, settings: ExportSettings) -> ir.Model:
    with settings.progress.stage("optimizing the graph"):
        return canonicalize(source.model)


def _gate(profile: Target, classifies: bool, settings: ExportSettings) -> Gate:
    if settings.max_drop is None:
        return profile.gate
    return Gate.of_max_drop(settings.max_drop, profile.gate, classifies=classifies)


def _judges(source: ImportedModel, samples: Samples | None, evaluation: Samples | None) -> LabelledSamples:
    """What the artifacts are judged on."""
    given = samples if evaluation is None else evaluation
    return random_samples(source.inputs, _RANDOM_SAMPLES, source.outputs) if given is None else given


def _verify(
    artifacts: Sequence[StagedArtifact],
    source: ImportedModel,
    samples: LabelledSamples,
    settings: ExportSettings,
    explanation: Explanation,
) -> list[tuple[StagedArtifact, Verified]]:
    classifies = is_classifier(source.model, samples.labels)
    subjects = [
        Subject(
            target=artifact.profile.name,
            format=artifact.format,
            path=artifact.staged_path,
            interface=artifact.interface,
            gate=_gate(artifact.profile, classifies, settings),
            label=artifact.path,
            precision=artifact.precision,
        )
        for artifact in artifacts
    ]
    advice = explanation.advice
    with settings.progress.stage("verifying", len(samples)) as advance:
        try:
            verified = verify(subjects, source.model, samples, threads=settings.threads, advance=advance, advice=advice)
        except GateError as error:
            if not explanation.cause:
                raise
            raise GateError(f"{explanation.cause}; {error}") from error
    return list(zip(artifacts, verified, strict=True))
