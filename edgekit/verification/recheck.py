"""``edgekit verify``: are the files those that were exported, and do they still do what the source model does?"""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Unpack

from edgekit.emulation.agreement import Emulated
from edgekit.emulation.checking import EmulationOptions, emulate
from edgekit.emulation.cpu import CPUS, Cpu
from edgekit.errors import ModelError, ProfileError, UsageError, nearest
from edgekit.graph.scores import find_scores
from edgekit.importers import ImportedModel, import_model
from edgekit.importers.fingerprint import model_sha256
from edgekit.interface import Precision
from edgekit.profiles.gate import Gate
from edgekit.profiles.target import Target, load_target
from edgekit.release.integrity import check_files
from edgekit.release.manifest import Artifact, Manifest
from edgekit.release.reading import read_manifest
from edgekit.verification.comparison import Subject
from edgekit.verification.metrics import Verification
from edgekit.verification.recheck_data import ChosenData, choose_data, spread
from edgekit.verification.recheck_report import Recheck, RecheckedArtifact
from edgekit.verification.recheck_settings import VerifyKeywords, VerifySettings
from edgekit.verification.verification import is_classifier
from edgekit.verification.verification import verify as compare

_EMULATED_SAMPLES = 4
_EMULATED_FLOAT_SAMPLES = 2
_MANY_MACS = 100_000_000
"""Float kernels are slower in an emulator, and their differences are the same on every sample: large ones run once."""

_NOTED_DB = 0.1
_ADVICE = "do not ship it; export it again, with more calibration samples or in another precision"


def verify(path: str | PathLike[str], **keywords: Unpack[VerifyKeywords]) -> Recheck:
    """Check the artifacts of a manifest, or of the folder of one; see :class:`VerifyKeywords` for the keywords.

    Every file must have the size and SHA-256 of the manifest; every artifact is compared with the source model under
    the gates of the export; with ``emulate`` it must also do on the CPUs of its target what it does here.

    Raises InputError for what is no manifest, ModelError when the source model is missing or another one, DataError for
    data that does not fit, UsageError, DependencyError, and GateError for what is changed or no longer good enough.
    """
    return _Recheck(VerifySettings.of(keywords), read_manifest(Path(path))).run()


class _Recheck:
    """One verification; ``notes`` fill up on the way."""

    def __init__(self, settings: VerifySettings, manifest: Manifest) -> None:
        self._settings = settings
        self._manifest = manifest
        self._notes: list[str] = []
        self._artifacts = _chosen(manifest, settings.targets)
        self._profiles = {name: self._profile(name) for name in dict.fromkeys(a.target for a in self._artifacts)}
        self._cpus = self._all_cpus() if settings.emulate else {}

    def run(self) -> Recheck:
        """The stages, in the order of what they cost."""
        with self._settings.progress.stage("checking the files"):
            check_files(self._manifest, self._artifacts)
        source = None if self._settings.hashes_only else self._import()
        data = None if self._settings.hashes_only and not self._settings.emulate else self._open_data(source)
        subjects = self._subjects(source, data)
        verified = {} if source is None or data is None else self._compare(subjects, source, data)
        emulated = {} if data is None or not self._settings.emulate else self._emulate(subjects, source, data)
        return Recheck(
            manifest=self._manifest,
            model=None if source is None else source.path,
            data=data,
            artifacts=tuple(
                RecheckedArtifact(artifact, verified.get(subject), emulated.get(subject, ()))
                for artifact, subject in zip(self._artifacts, subjects, strict=True)
            ),
            notes=tuple(dict.fromkeys(self._notes)),
        )

    def _import(self) -> ImportedModel:
        record = self._manifest.model
        path = self._settings.model or (self._manifest.folder / record.path).resolve()
        if not path.exists():
            raise ModelError(
                f"{path}: the source model is not here; give --model PATH, or --hashes-only to check the files alone"
            )
        shapes = {name: tuple(shape) for name, shape in self._manifest.settings["input_shapes"].items()}
        with self._settings.progress.stage(f"importing {path.name}"):
            source = import_model(path, input_shapes=shapes)
        if source.sha256 != record.sha256:
            raise ModelError(
                f"{path}: is not the model that was exported (SHA-256 {source.sha256}, expected {record.sha256}); "
                "give the right one with --model, or export again"
            )
        return source

    def _open_data(self, source: ImportedModel | None) -> ChosenData:
        return choose_data(
            self._manifest,
            self._manifest.model.inputs if source is None else source.inputs,
            None if source is None else find_scores(source.model),
            given=self._settings.data,
            limit=self._settings.samples,
            note=self._notes.append,
        )

    def _subjects(self, source: ImportedModel | None, data: ChosenData | None) -> list[Subject]:
        labels = None if data is None else data.samples.labels
        classifies = source is not None and is_classifier(source.model, labels)
        return [
            Subject(
                target=artifact.target,
                format=artifact.format,
                path=self._manifest.folder / artifact.path,
                interface=artifact.interface,
                gate=self._gate(artifact.target, classifies),
                label=artifact.path,
                precision=Precision.INT8 if artifact.precision == "mixed" else Precision(artifact.precision),
            )
            for artifact in self._artifacts
        ]

    def _gate(self, target: str, classifies: bool) -> Gate:
        profile = self._profiles[target]
        gate = Gate() if profile is None else profile.gate
        max_drop = self._manifest.settings.get("max_drop")
        return gate if max_drop is None else Gate.of_max_drop(max_drop, gate, classifies=classifies)

    def _compare(
        self, subjects: Sequence[Subject], source: ImportedModel, data: ChosenData
    ) -> dict[Subject, Verification]:
        with self._settings.progress.stage("comparing with the source model", len(data.samples)) as advance:
            results = compare(
                subjects,
                source.model,
                data.samples,
                threads=self._settings.threads,
                advance=advance,
                advice=_ADVICE,
            )
        for artifact, result in zip(self._artifacts, results, strict=True):
            self._note_difference(artifact, result.verification, data)
        return {result.subject: result.verification for result in results}

    def _note_difference(self, artifact: Artifact, now: Verification, data: ChosenData) -> None:
        """Against the figures of the manifest, when they are of the same samples."""
        then = artifact.verification
        if data.kind == "given" or now.samples != then.samples or abs(now.sqnr_db - then.sqnr_db) < _NOTED_DB:
            return
        runtimes = "" if now.runtime == then.runtime else f" ({now.runtime}, then {then.runtime})"
        self._notes.append(f"{artifact.path}: SQNR {now.sqnr_db:.1f} dB, at the export {then.sqnr_db:.1f} dB{runtimes}")

    def _emulate(
        self, subjects: Sequence[Subject], source: ImportedModel | None, data: ChosenData
    ) -> Mapping[Subject, tuple[Emulated, ...]]:
        same = self._same_files(subjects)
        cpus: dict[Subject, tuple[Cpu, ...]] = {}
        for subject in subjects:  # a file that two targets have runs once on each of their CPUs
            cpus[same[subject]] = tuple(dict.fromkeys((*cpus.get(same[subject], ()), *self._cpus[subject.target])))
        counts = {subject: self._settings.samples or self._default_samples(subject) for subject in cpus}
        samples = {count: spread(data.samples, count) for count in set(counts.values())}
        options = EmulationOptions(
            sysroot=self._settings.sysroot,
            source=None if source is None else source.model,
            announce=self._settings.announce,
            progress=self._settings.progress,
        )
        found = emulate(tuple(cpus), {subject: samples[count] for subject, count in counts.items()}, cpus, options)
        names = {subject: {cpu.name for cpu in self._cpus[subject.target]} for subject in subjects}
        batch = data.samples.batch
        return {s: tuple(each.counted_by(batch) for each in found[same[s]] if each.cpu in names[s]) for s in subjects}

    def _same_files(self, subjects: Sequence[Subject]) -> dict[Subject, Subject]:
        """For every artifact the first whose file has the same content, in the same role."""
        first: dict[object, Subject] = {}
        return {
            subject: first.setdefault((artifact.sha256, subject.format, subject.precision, subject.interface), subject)
            for artifact, subject in zip(self._artifacts, subjects, strict=True)
        }

    def _default_samples(self, subject: Subject) -> int:
        integer = subject.precision in (Precision.INT8, Precision.INT8_DYNAMIC)
        if integer:
            return _EMULATED_SAMPLES
        return _EMULATED_FLOAT_SAMPLES if self._manifest.model.macs < _MANY_MACS else 1

    def _profile(self, name: str) -> Target | None:
        """The target's profile; None, with a note, when the manifest was made where there are other profiles."""
        try:
            profile = load_target(name)
        except ProfileError as error:
            self._notes.append(f"target {name}: held against the default gate, as its profile cannot be read: {error}")
            return None
        exported = self._manifest.settings["targets"].get(name)
        if exported is not None and exported != model_sha256(profile.path):
            self._notes.append(f"target {name}: {profile.path} has changed since the export; its gate of today is used")
        return profile

    def _all_cpus(self) -> dict[str, tuple[Cpu, ...]]:
        """The CPUs to emulate, by target. Raises UsageError when there are none."""
        cpus = {target: self._cpus_of(target) for target in self._profiles}
        if not any(cpus.values()):
            asked = ", ".join(cpu.name for cpu in self._settings.cpus)
            raise UsageError(
                f"--emulate: nothing to emulate{f' on {asked}' if asked else ''} for {', '.join(cpus)}; "
                "expected a target whose profile names cpus in [emulation] (edgekit targets NAME shows it)"
            )
        self._notes += [
            f"target {target}: not emulated: no emulator has its CPU" for target in cpus if not cpus[target]
        ]
        return cpus

    def _cpus_of(self, target: str) -> tuple[Cpu, ...]:
        profile, asked = self._profiles[target], self._settings.cpus
        if profile is None:
            return asked
        usual = tuple(CPUS[name] for name in profile.emulated_cpus)
        machines = {cpu.machine for cpu in usual}
        return tuple(cpu for cpu in asked if cpu.machine in machines) if asked else usual


def _chosen(manifest: Manifest, targets: Sequence[str]) -> list[Artifact]:
    known = list(dict.fromkeys(artifact.target for artifact in manifest.artifacts))
    for target in targets:
        if target not in known:
            raise UsageError(
                f"--target {target}: no artifact is for it{nearest(target, known)}; the manifest has {', '.join(known)}"
            )
    return [artifact for artifact in manifest.artifacts if not targets or artifact.target in targets]
