"""From the stages' results to the manifest."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgekit.artifacts import StagedArtifact
from edgekit.data import Samples
from edgekit.files import file_sha256
from edgekit.graph.cost import count_macs, count_parameters
from edgekit.importers import ImportedModel, Source
from edgekit.release.delegation import target_delegation
from edgekit.release.manifest import Artifact, DataRecord, Manifest, ModelRecord
from edgekit.settings import ExportSettings
from edgekit.verification import Verified

_PACKAGES = ("numpy", "onnx", "onnx-ir", "onnxruntime", "ai-edge-litert", "tflite-runtime", "MNN")
_IMPORT_PACKAGES = ("tensorflow", "keras", "tf2onnx")
_TRAINING_PACKAGES = ("tensorflow",)


def record(
    source: ImportedModel,
    graph: ir.Model,
    data: tuple[Samples | None, Samples | None],
    verified: Sequence[tuple[StagedArtifact, Verified]],
    settings: ExportSettings,
    pruning: Mapping[str, Any] | None = None,
) -> Manifest:
    """The manifest of an export; ``graph`` is the canonical float graph, whose parameters and MACs are reported.

    ``data``: the calibration and the evaluation samples.
    """
    calibration, evaluation = data
    targets = {artifact.profile.name: file_sha256(artifact.profile.path) for artifact, _ in verified}
    return Manifest(
        folder=settings.out,
        name=settings.name,
        model=ModelRecord(
            path=_relative(source.path, settings.out),
            format=str(source.format),
            sha256=source.sha256,
            parameters=count_parameters(graph),
            macs=count_macs(graph),
            inputs=source.inputs,
            outputs=source.outputs,
        ),
        calibration=_data_record(calibration, settings),
        artifacts=tuple(_artifact(artifact, result) for artifact, result in verified),
        settings={**settings.to_json(), "targets": targets, "eval": _eval_setting(evaluation, settings)},
        environment=_environment(source, trained=pruning is not None and pruning["recovery"] is not None),
        pruning=pruning,
    )


def _artifact(artifact: StagedArtifact, result: Verified) -> Artifact:
    return Artifact(
        target=artifact.profile.name,
        format=artifact.format,
        path=artifact.path,
        sha256=file_sha256(artifact.staged_path),
        bytes=artifact.staged_path.stat().st_size,
        precision=artifact.computed,
        layout=artifact.layout,
        interface=artifact.interface,
        verification=result.verification,
        delegation=target_delegation(
            artifact.profile.runtimes[artifact.format], artifact.staged_path, result.delegation
        ),
    )


def _data_record(samples: Samples | None, settings: ExportSettings) -> DataRecord | None:
    if samples is None:
        return None
    return DataRecord(_relative(samples.path, settings.out), samples.sha256, len(samples) * samples.batch)


def _eval_setting(evaluation: Samples | None, settings: ExportSettings) -> dict[str, object] | None:
    found = _data_record(evaluation, settings)
    return None if found is None else {"path": found.path, "sha256": found.sha256, "samples": found.samples}


def _relative(path: str | Path, out: Path) -> str:
    """``path`` as seen from the manifest; what is no file (``module:function``) stays as it is."""
    if not Path(path).exists():
        return str(path)
    return Path(os.path.relpath(Path(path).resolve(), out.resolve())).as_posix()


def _environment(source: ImportedModel, *, trained: bool) -> dict[str, str]:
    imported = () if source.format is Source.ONNX else _IMPORT_PACKAGES
    packages = (*_PACKAGES, *(imported or (_TRAINING_PACKAGES if trained else ())))
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
