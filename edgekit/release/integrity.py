"""Whether the files of a manifest are still those that were verified."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgekit.errors import GateError
from edgekit.importers.fingerprint import model_sha256
from edgekit.release.manifest import Artifact, Manifest


def check_files(manifest: Manifest, artifacts: Sequence[Artifact]) -> None:
    """Compare size and SHA-256 of every file. Raises GateError that lists all that are missing or changed."""
    faults = [f"{artifact.path}: {fault}" for artifact in artifacts for fault in _faults(manifest.folder, artifact)]
    if faults:
        raise GateError(
            f"{manifest.folder}: {len(faults)} of {len(artifacts)} artifacts are not those that were verified: "
            f"{'; '.join(faults)}: export again, or restore the files"
        )


def _faults(folder: Path, artifact: Artifact) -> Iterator[str]:
    path = folder / artifact.path
    try:
        size = path.stat().st_size
        if not path.is_file():
            yield "is no file"
        elif size != artifact.bytes:
            yield f"has {size} bytes, expected {artifact.bytes}"
        elif (found := model_sha256(path)) != artifact.sha256:
            yield f"has SHA-256 {found}, expected {artifact.sha256}"
    except FileNotFoundError:
        yield "is missing"
    except OSError as error:
        yield f"cannot be read ({error.strerror})"
