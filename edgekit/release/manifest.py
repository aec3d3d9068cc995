"""The manifest: what was written, from what, with which settings, and what verification found (schema 1)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edgekit
from edgekit.exporters import ExportedInterface
from edgekit.interface import Layout, TensorSpec
from edgekit.runtimes import Delegation
from edgekit.verification.metrics import Verification

SCHEMA = 1
FILE_NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """The source model; ``path`` is relative to the manifest, ``macs`` are multiply-accumulates of one inference."""

    path: str
    format: str
    sha256: str
    parameters: int
    macs: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class DataRecord:
    """A calibration or evaluation set: where it was read, its digest and how many samples were used."""

    path: str
    sha256: str
    samples: int


@dataclass(frozen=True, slots=True)
class Artifact:
    """One written and verified file; ``path`` is relative to the manifest."""

    target: str
    format: str
    path: str
    sha256: str
    bytes: int
    precision: str
    layout: Layout
    interface: ExportedInterface
    verification: Verification
    delegation: Delegation | None

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The file's inputs, in the source model's order."""
        return self.interface.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The file's outputs, in the source model's order."""
        return self.interface.outputs


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a release check needs to know of one export; ``folder`` is where it is, and not in the document.

    ``pruning``: what edgekit.pruning.stages.Pruning says; None, and not in the document, when nothing was to be pruned.
    """

    folder: Path
    name: str
    model: ModelRecord
    calibration: DataRecord | None
    artifacts: tuple[Artifact, ...]
    settings: Mapping[str, Any]
    environment: Mapping[str, str]
    pruning: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The document of PRODUCT's schema 1."""
        document = {
            "schema": SCHEMA,
            "edgekit": edgekit.__version__,
            "name": self.name,
            "model": {
                "path": self.model.path,
                "format": self.model.format,
                "sha256": self.model.sha256,
                "parameters": self.model.parameters,
                "macs": self.model.macs,
                "inputs": tensors_to_json(self.model.inputs),
                "outputs": tensors_to_json(self.model.outputs),
            },
            "calibration": None if self.calibration is None else _data_to_json(self.calibration),
            "artifacts": [_artifact_to_json(artifact) for artifact in self.artifacts],
            "settings": dict(self.settings),
            "environment": dict(self.environment),
        }
        return document if self.pruning is None else document | {"pruning": dict(self.pruning)}

    def write(self, path: Path) -> None:
        """Write the document as UTF-8 JSON."""
        path.write_text(json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def tensors_to_json(tensors: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    """``[{"name", "dtype", "shape", "scale"?, "zero_point"?, "permutation"?}]``."""
    documents = []
    for tensor in tensors:
        document: dict[str, Any] = {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}
        if tensor.scale is not None:
            document |= {"scale": tensor.scale, "zero_point": tensor.zero_point}
        if tensor.permutation is not None:
            document["permutation"] = list(tensor.permutation)
        documents.append(document)
    return documents


def _data_to_json(data: DataRecord) -> dict[str, Any]:
    return {"path": data.path, "sha256": data.sha256, "samples": data.samples}


def _artifact_to_json(artifact: Artifact) -> dict[str, Any]:
    return {
        "target": artifact.target,
        "format": artifact.format,
        "path": artifact.path,
        "sha256": artifact.sha256,
        "bytes": artifact.bytes,
        "precision": artifact.precision,
        "layout": str(artifact.layout),
        "inputs": tensors_to_json(artifact.inputs),
        "outputs": tensors_to_json(artifact.outputs),
        "verification": artifact.verification.to_json(),
        "delegation": None if artifact.delegation is None else artifact.delegation.to_json(),
    }
