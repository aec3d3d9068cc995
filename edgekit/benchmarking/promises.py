"""Whether artifacts are as accelerated as was promised: a silent fallback to slow kernels is an error."""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgekit.benchmarking.runners import Trial
from edgekit.benchmarking.subjects import Artifact, Subject
from edgekit.errors import DependencyError, GateError, ProfileError
from edgekit.interface import Precision
from edgekit.profiles.target import RuntimeProfile, Target, load_target
from edgekit.release.delegation import target_delegation
from edgekit.runtimes import Delegation
from edgekit.runtimes.process import RuntimeProcess

_NOT_HERE = ("gpu", "nnapi")
"""TFLite's delegates that silently leave everything to the CPU when the device has no driver for them."""

_TELLING = ("benchmark_model", "edgekit", "python")
"""The programs that tell of TFLite's delegates; the others, and other runtimes, cannot."""

_NAMED_FALLBACKS = 3

_log = logging.getLogger("edgekit")


@dataclass(slots=True)
class Promises:
    """The inspector of a benchmark; see :class:`edgekit.benchmarking.protocol.Inspector`.

    ``target`` is the profile whose promises hold, None: that of the artifact's manifest. ``is_local``: this machine's
    runtime tells what the measuring program does not.
    """

    device: str
    is_local: bool
    target: Target | None = None
    _asked: dict[Path, Delegation | None] = field(default_factory=dict)
    _noted: set[Path] = field(default_factory=set)
    _promises: dict[tuple[Path, str | None], Delegation | None] = field(default_factory=dict)

    def complete(self, subject: Subject, trial: Trial) -> Trial:
        """With the operations that this machine's runtime accelerates, for a trial on this machine.

        Raises ModelError when the artifact was replaced meanwhile; another device has a copy of its own.
        """
        if self.is_local:
            subject.artifact.require_unchanged()
        if trial.accelerated_ops is not None or not self.is_local or subject.delegate not in (None, "xnnpack"):
            return trial
        found = self._ask(subject.artifact)
        return (
            trial if found is None else replace(trial, accelerated_ops=found.accelerated_ops, total_ops=found.total_ops)
        )

    def check(self, subject: Subject, trial: Trial) -> None:
        """Raises GateError when fewer operations are accelerated than promised, or a delegate took none at all."""
        # Some programs only tell in how many parts of the graph the delegate runs.
        if subject.delegate in _NOT_HERE and not (trial.accelerated_ops or trial.partitions):
            raise GateError(
                f"{subject.artifact.path}: the {subject.delegate} delegate took no operation on {self.device}; "
                "expected it to run there: measure with --delegate xnnpack, or update the device"
            )
        key = subject.artifact.path, subject.delegate
        if key not in self._promises:
            self._promises[key] = self._promised(subject)
        promised = self._promises[key]
        if promised is None or promised.accelerated_ops == 0:
            return
        if trial.accelerated_ops is None:
            self._miss(subject, trial, promised)
        elif trial.accelerated_ops < promised.accelerated_ops:
            raise GateError(self._broken(subject, trial, promised))

    def _miss(self, subject: Subject, trial: Trial, promised: Delegation) -> None:
        """Raise GateError when the program is one that would have told of the delegate, else note it, once."""
        path, program = subject.artifact.path, subject.prepared.name
        if subject.artifact.format == "tflite" and program in _TELLING and not trial.partitions:
            raise GateError(
                f"{path}: {program} on {self.device} does not say that {subject.delegate} took anything; expected "
                f"{promised.accelerated_ops} of {promised.total_ops} operations, as "
                f"{self.target.name if self.target else subject.artifact.target} promises: update it, or its runtime"
            )
        if path not in self._noted:
            self._noted.add(path)
            _log.warning(
                "%s: %s does not tell how many operations are accelerated; nobody knows whether it is the %d that were "
                "promised",
                path,
                program,
                promised.accelerated_ops,
            )

    def _promised(self, subject: Subject) -> Delegation | None:
        artifact = subject.artifact
        runtime = promising_runtime(artifact, self.target)
        if runtime is None or not _is_used(runtime, subject.delegate):
            return None
        if artifact.promised is not None and (self.target is None or self.target.name == artifact.target):
            return artifact.promised
        asked = self._ask(artifact) if runtime.is_asked and runtime.format == "tflite" else None
        return target_delegation(runtime, artifact.path, asked)

    def _ask(self, artifact: Artifact) -> Delegation | None:
        if artifact.path not in self._asked:
            self._asked[artifact.path] = _ask_runtime(artifact)
        return self._asked[artifact.path]

    def _broken(self, subject: Subject, trial: Trial, promised: Delegation) -> str:
        artifact = subject.artifact
        asked = self._ask(artifact) if self.is_local else None
        fallback = asked.fallback[:_NAMED_FALLBACKS] if asked else ()
        named = "; ".join(f"{each.op} {each.node}: {each.reason}" for each in fallback)
        return (
            f"{artifact.path}: {subject.delegate or subject.prepared.runtime} accelerates {trial.accelerated_ops} of "
            f"{trial.total_ops or promised.total_ops} operations on {self.device}; expected "
            f"{promised.accelerated_ops}, as {self.target.name if self.target else artifact.target} promises"
            f"{f' (not {named})' if named else ''}: update its runtime, or export for what it has"
        )


def promising_runtime(artifact: Artifact, target: Target | None) -> RuntimeProfile | None:
    """What ``target``, or else the target that the manifest names, says of the artifact's format."""
    if target is None and artifact.target is not None:
        try:
            target = load_target(artifact.target)
        except ProfileError:  # An export for a profile that is not here: nobody knows for which delegate it promised.
            return None
    return None if target is None else target.runtimes.get(artifact.format)


def _is_used(runtime: RuntimeProfile, delegate: str | None) -> bool:
    """Whether what was measured is what the profile speaks of: another delegate has promised nothing."""
    # MNN and ONNX Runtime on the plain CPU have no delegate.
    return runtime.accelerator == delegate or (runtime.format != "tflite" and runtime.is_asked and delegate is None)


def _ask_runtime(artifact: Artifact) -> Delegation | None:
    """This machine's runtime's answer; None when it is not installed or cannot tell."""
    try:
        with RuntimeProcess(artifact.format, artifact.path, precision=_precision(artifact)) as process:
            return process.delegation()
    except DependencyError as error:
        _log.warning("%s: not asked what is accelerated here: %s", artifact.path, error)
        return None


def _precision(artifact: Artifact) -> Precision | None:
    """What the file was verified in: "mixed" is int8 with some operations left in float."""
    if artifact.precision is None:
        return None
    return Precision.INT8 if artifact.precision == "mixed" else Precision(artifact.precision)
