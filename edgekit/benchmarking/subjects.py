"""Which files are measured: the arguments of ``edgekit benchmark``, and what the manifests beside them promise."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.benchmarking.runners import Prepared
from edgekit.errors import InputError, ModelError, UsageError, nearest
from edgekit.files import file_sha256
from edgekit.release import manifest
from edgekit.release.manifest import FILE_NAME
from edgekit.release.reading import read_manifest
from edgekit.runtimes import Delegation, find_runtime

_FORMATS = {".tflite": "tflite", ".mnn": "mnn", ".onnx": "onnx"}


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file to measure. ``target``, ``precision`` and ``promised`` are what a manifest with this very file says."""

    path: Path
    format: str
    sha256: str
    bytes: int
    target: str | None = None
    precision: str | None = None
    promised: Delegation | None = None

    @property
    def runtime(self) -> str:
        """The engine of its format."""
        return find_runtime(self.format).name

    def require_unchanged(self) -> None:
        """Raises ModelError when its file is another one by now: an export writes new files to the same place."""
        if _read(self.path, self.format).sha256 != self.sha256:
            raise ModelError(f"{self.path}: was replaced while it was measured; measure it again")


@dataclass(frozen=True, slots=True)
class Subject:
    """An artifact, and the program that is ready to measure it on the device, where its path is ``remote``."""

    artifact: Artifact
    prepared: Prepared
    remote: str
    delegate: str | None = None


def resolve_artifacts(
    arguments: Sequence[str | Path], runtime: str | None = None, target: str | None = None
) -> list[Artifact]:
    """The artifacts that ``arguments`` name: files, manifests, folders with one, or a target's folder of an export.

    Each stands once, in this order. ``runtime`` and ``target`` keep those of a manifest that this engine runs, and that
    are for this target. Raises UsageError for what is no artifact, is given
    twice or is for another engine, and InputError for files that are missing or are not what their manifest says.
    """
    if not arguments:
        raise UsageError("nothing to measure; expected .tflite, .mnn or .onnx files, or a folder with a manifest.json")
    artifacts = [artifact for argument in arguments for artifact in _resolve(Path(argument), runtime, target)]
    seen: set[Path] = set()
    for artifact in artifacts:
        if artifact.path.resolve() in seen:
            raise UsageError(
                f"{artifact.path}: given twice; expected each artifact once (a copy may have another name)"
            )
        seen.add(artifact.path.resolve())
    return artifacts


def is_artifact(argument: str | Path) -> bool:
    """Whether ``argument`` names an artifact or an export, and not a document of results or a recorded run."""
    path = Path(argument)
    return path.suffix.lower() in _FORMATS or path.name == FILE_NAME or path.is_dir()


def matching_artifact(old: str | Path, new: Artifact) -> Artifact:
    """The artifact of ``old`` to compare ``new`` with: the file itself, or of an export that of the same target and
    format, else the only one of its format. Raises UsageError and InputError.
    """
    artifacts = resolve_artifacts([old])
    alike = [each for each in artifacts if each.format == new.format]
    same = [each for each in alike if each.target == new.target]
    found = artifacts if len(artifacts) == 1 else same or alike
    if len(found) != 1:
        raise UsageError(f"--compare {old}: it has {len(found)} artifacts to compare with {new.path}; name the file")
    return found[0]


def _resolve(path: Path, runtime: str | None, target: str | None) -> list[Artifact]:
    if path.is_dir() or path.name == FILE_NAME:
        manifest_path = path / FILE_NAME if path.is_dir() else path
        above = path.absolute().parent / FILE_NAME
        if path.is_dir() and not manifest_path.exists() and above.is_file():
            return _of_manifest(above, runtime, path.absolute().name)
        return _of_manifest(manifest_path, runtime, target)
    format_ = _FORMATS.get(path.suffix.lower())
    if format_ is None:
        raise UsageError(
            f"{path}: not an artifact; expected a .tflite, .mnn or .onnx file, a manifest.json or its folder "
            "(`edgekit export` makes them from a model)"
        )
    artifact = _read(path, format_)
    if runtime is not None and artifact.runtime != runtime:
        raise UsageError(f"{path}: {runtime} does not run .{format_} files; expected --runtime {artifact.runtime}")
    return [_listed(artifact)]


def _of_manifest(path: Path, runtime: str | None, target: str | None) -> list[Artifact]:
    export = read_manifest(path)
    targets = sorted({entry.target for entry in export.artifacts})
    if target is not None and target not in targets:
        raise UsageError(f"{path}: nothing for target {target}{nearest(target, targets)}; it has {', '.join(targets)}")
    artifacts = []
    for entry in export.artifacts:
        if target not in (None, entry.target):
            continue
        artifact = _read(export.folder / entry.path, entry.format)
        if artifact.sha256 != entry.sha256:
            raise ModelError(f"{artifact.path}: not the file that {path} lists (its sha256 differs); export it again")
        artifacts.append(_promising(artifact, entry))
    found = [artifact for artifact in artifacts if runtime in (None, artifact.runtime)]
    if not found:
        has = ", ".join(sorted({artifact.format for artifact in artifacts}))
        raise UsageError(f"{path}: nothing to measure with {runtime}; it lists {has}")
    return found


def _listed(artifact: Artifact) -> Artifact:
    """With what the manifest of its export says, when there is one that lists this very file."""
    folder = artifact.path.absolute().parent
    for path in (folder.parent / FILE_NAME, folder / FILE_NAME):
        try:
            export = read_manifest(path)
        except InputError:  # None, or another program's manifest.json; nobody named it.
            continue
        for entry in export.artifacts:
            same_path = (export.folder / entry.path).resolve() == artifact.path.resolve()
            if same_path and entry.sha256 == artifact.sha256:
                return _promising(artifact, entry)
    return artifact


def _promising(artifact: Artifact, entry: manifest.Artifact) -> Artifact:
    return replace(artifact, target=entry.target, precision=entry.precision, promised=entry.delegation)


def _read(path: Path, format_: str) -> Artifact:
    try:
        digest = file_sha256(path)
        size = path.stat().st_size
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; expected an artifact to measure") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    if not size:
        raise ModelError(f"{path}: the file is empty; export it again")
    return Artifact(path, format_, digest, size)
