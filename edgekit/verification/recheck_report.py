"""What ``edgekit verify`` found."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.emulation.agreement import Emulated
from edgekit.release.manifest import FILE_NAME, Artifact, Manifest
from edgekit.verification.metrics import Verification
from edgekit.verification.recheck_data import ChosenData


@dataclass(frozen=True, slots=True)
class RecheckedArtifact:
    """An artifact whose file is what was exported. ``verification`` is None with --hashes-only."""

    artifact: Artifact
    verification: Verification | None
    emulated: tuple[Emulated, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """One of the ``artifacts`` of ``edgekit verify --json``."""
        return {
            "target": self.artifact.target,
            "format": self.artifact.format,
            "path": self.artifact.path,
            "sha256": self.artifact.sha256,
            "bytes": self.artifact.bytes,
            "precision": self.artifact.precision,
            "hash_ok": True,
            "verification": None if self.verification is None else self.verification.to_json(),
            "emulated": [emulated.to_json() for emulated in self.emulated],
        }


@dataclass(frozen=True, slots=True)
class Recheck:
    """A manifest whose artifacts passed. ``model`` and ``data`` are None where they were not needed.

    ``notes`` are sentences: what could not be used, what differs from the export.
    """

    manifest: Manifest
    model: Path | None
    data: ChosenData | None
    artifacts: tuple[RecheckedArtifact, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The document of ``edgekit verify --json``, schema 1."""
        return {
            "schema": 1,
            "manifest": str(self.manifest.folder / FILE_NAME),
            "name": self.manifest.name,
            "model": None if self.model is None else {"path": str(self.model), "sha256": self.manifest.model.sha256},
            "data": None if self.data is None else self.data.to_json(),
            "artifacts": [artifact.to_json() for artifact in self.artifacts],
            "notes": list(self.notes),
        }
