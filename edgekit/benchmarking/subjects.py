"""Which files are measured: the arguments of ``edgekit benchmark``, and what the manifests beside them promise."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.benchmarking.runners import Prepared
from edgekit.errors import ModelError, UsageError
from edgekit.interface import Precision
from edgekit.release.manifest import FILE_NAME
from edgekit.runtimes import Delegation, Fallback, find_runtime

_FORMATS = {".tflite": "tflite", ".mnn": "mnn", ".onnx": "onnx"}
_PRECISIONS = (*map(str, Precision), "mixed")


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


@dataclass(frozen=True, slots=True)
class Subject:
    """An artifact, and the program that is ready to measure it on the device, where its path is ``remote``."""

    artifact: Artifact
    runner: str
    prepared: Prepared
    remote: str
    delegate: str | None = None


def resolve_artifacts(arguments: Sequence[str | Path], runtime: str | None = None) -> list[Artifact]:
    """The artifacts that ``arguments`` name: files, manifests, or folders with one; each once, in this order.

    ``runtime`` keeps those of a manifest that this engine runs. Raises UsageError for what is no artifact, is given
    twice or is for another engine, and ModelError for files that are missing or are not what their manifest says.
    """
    if not arguments:
        raise UsageError("nothing to measure; expected .tflite, .mnn or .onnx files, or a folder with a manifest.json")
    artifacts = [artifact for argument in arguments for artifact in _resolve(Path(argument), runtime)]
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
    format, else the only one of its format. Raises UsageError and ModelError.
    """
    artifacts = resolve_artifacts([old])
    alike = [each for each in artifacts if each.format == new.format]
    same = [each for each in alike if each.target == new.target]
    found = artifacts if len(artifacts) == 1 else same or alike
    if len(found) != 1:
        raise UsageError(f"--compare {old}: it has {len(found)} artifacts to compare with {new.path}; name the file")
    return found[0]


def _resolve(path: Path, runtime: str | None) -> list[Artifact]:
    if path.is_dir() or path.name == FILE_NAME:
        return _of_manifest(path / FILE_NAME if path.is_dir() else path, runtime)
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


def _of_manifest(path: Path, runtime: str | None) -> list[Artifact]:
    entries = _entries(path)
    artifacts = []
    for entry in entries:
        artifact = _read(path.parent / entry["path"], entry["format"])
        if artifact.sha256 != entry["sha256"]:
            raise ModelError(f"{artifact.path}: not the file that {path} lists (its sha256 differs); export it again")
        artifacts.append(_promising(artifact, entry))
    found = [artifact for artifact in artifacts if runtime in (None, artifact.runtime)]
    if not found:
        has = ", ".join(sorted({artifact.format for artifact in artifacts})) or "no artifacts"
        raise UsageError(f"{path}: nothing to measure{f' with {runtime}' if runtime else ''}; it lists {has}")
    return found


def _listed(artifact: Artifact) -> Artifact:
    """With what the manifest of its export says, when there is one that lists this very file."""
    folder = artifact.path.absolute().parent
    for manifest in (folder.parent / FILE_NAME, folder / FILE_NAME):
        if not manifest.is_file():
            continue
        try:
            entries = _entries(manifest)
        except ModelError:  # Somebody else's manifest.json; nobody named it.
            continue
        for entry in entries:
            same_path = (manifest.parent / entry["path"]).resolve() == artifact.path.resolve()
            if same_path and entry["sha256"] == artifact.sha256:
                return _promising(artifact, entry)
    return artifact


def _entries(path: Path) -> list[Mapping[str, Any]]:
    """The artifacts that a manifest lists, with the keys that are needed here. Raises ModelError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; expected the manifest of an export, or name the artifacts") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ModelError(f"{path}: not a manifest: {' '.join(str(error).split())}; export again") from None
    entries = document.get("artifacts") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        raise ModelError(f'{path}: not a manifest of edgekit: "artifacts" is missing or wrong; export again')
    return entries


def _is_entry(entry: Any) -> bool:
    texts = ("target", "format", "path", "sha256")
    return (
        isinstance(entry, dict)
        and all(isinstance(entry.get(key), str) for key in texts)
        and entry["format"] in _FORMATS.values()
    )


def _promising(artifact: Artifact, entry: Mapping[str, Any]) -> Artifact:
    return Artifact(
        path=artifact.path,
        format=artifact.format,
        sha256=artifact.sha256,
        bytes=artifact.bytes,
        target=entry["target"],
        precision=entry["precision"] if entry.get("precision") in _PRECISIONS else None,
        promised=_delegation(entry.get("delegation")),
    )


def _delegation(document: Any) -> Delegation | None:
    try:
        fallback = tuple(Fallback(each["op"], each["node"], each["reason"]) for each in document["fallback"])
        return Delegation(int(document["accelerated_ops"]), int(document["total_ops"]), fallback)
    except (TypeError, KeyError, ValueError):
        return None


def _read(path: Path, format_: str) -> Artifact:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; expected an artifact to measure") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    if not size:
        raise ModelError(f"{path}: the file is empty; export it again")
    return Artifact(path, format_, digest, size)
