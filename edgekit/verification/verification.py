"""Run every artifact in its real runtime beside the source model, in one pass over the samples."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import DataError, GateError, ModelError
from edgekit.graph import storage
from edgekit.graph.scores import ClassScores, find_scores
from edgekit.progress import Advance
from edgekit.runtimes import Array
from edgekit.runtimes.process import RuntimeFailedError, RuntimeProcess
from edgekit.verification.comparison import Comparison, Expected, Subject, Verified
from edgekit.verification.failures import spell_failures
from edgekit.verification.judgement import Shortfall, shortfalls
from edgekit.verification.output_parts import OutputPart, split_outputs


class LabelledSamples(Protocol):
    """Samples of the source model's inputs, re-iterable; :mod:`edgekit.data` opens them."""

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """One class per sample and batch entry, or None."""

    @property
    def batch(self) -> int:
        """How many samples, as a user counts them, an iteration gives together."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Mapping[str, Array]]: ...


EXPORT_ADVICE = "give more calibration samples, another --precision or --max-drop"


def _ignore(_: int) -> None:
    return None


def verify(
    subjects: Sequence[Subject],
    reference: ir.Model,
    samples: LabelledSamples,
    *,
    threads: int = 1,
    advance: Advance = _ignore,
    advice: str = EXPORT_ADVICE,
) -> list[Verified]:
    """Compare every artifact with ``reference``, the source model in float, on ``samples``; one result per subject.

    All runtimes work on a sample at the same time, each in its own process; memory does not grow with the samples.
    ``advance`` is called with 1 after each. ``advice`` is what to do about a failure.

    Raises GateError naming every artifact that crashes, gives NaN or misses its gate, with what it got and what was
    wanted; ModelError when the source model itself cannot run or gives NaN; DataError without samples.
    """
    if not len(samples):
        raise DataError("no samples to verify with; expected at least one")
    with ExitStack() as stack:
        bench = _Bench(stack, threads, samples.batch)
        bench.scores, bench.classifies = _usable_scores(reference, samples.labels)
        bench.parts = split_outputs(reference)
        bench.start(subjects, reference)
        bench.open_reference()
        bench.open_subjects()
        for index, following in enumerate(_followers(samples, bench.submit)):
            bench.step(index, following, samples.labels)
            advance(1)
        return bench.verdict(subjects, advice)


class _Bench:
    """The running processes and the artifacts that have failed so far."""

    def __init__(self, stack: ExitStack, threads: int, batch: int) -> None:
        self.scores: ClassScores | None = None
        self.classifies = False
        self.parts: tuple[OutputPart, ...] = ()
        self._stack = stack
        self._threads = threads
        self._batch = batch
        self._started: dict[Subject, RuntimeProcess] = {}
        self._running: dict[Subject, Comparison] = {}
        self._failures: dict[Subject, list[Shortfall]] = {}
        self._reference: RuntimeProcess

    def start(self, subjects: Sequence[Subject], reference: ir.Model) -> None:
        """Let all runtimes load their files at the same time."""
        for subject in subjects:
            process = RuntimeProcess(
                subject.format, subject.path, self._threads, label=subject.label, precision=subject.precision
            )
            self._stack.callback(process.close)
            try:
                process.start()
            except RuntimeFailedError as error:
                self._fail(subject, str(error))
            else:
                self._started[subject] = process
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="edgekit-"))
        path = Path(folder, "source.onnx")
        storage.save(reference, path)
        self._reference = RuntimeProcess("onnx", path, self._threads, label="the source model")

    def open_reference(self) -> None:
        try:
            self._stack.enter_context(self._reference)
        except RuntimeFailedError as error:
            raise ModelError(str(error)) from error

    def open_subjects(self) -> None:
        for subject, process in self._started.items():
            try:
                comparison = Comparison(subject, process.__enter__(), self.parts)
                fault = comparison.interface_fault()
                comparison.submit_delegation()
            except (ModelError, RuntimeFailedError) as error:
                self._fail(subject, str(error))
            else:
                self._running[subject] = comparison
                if fault is not None:
                    self._fail(subject, fault)
        for subject, comparison in list(self._running.items()):
            try:
                comparison.collect_delegation()
            except RuntimeFailedError as error:
                self._fail(subject, str(error))

    def submit(self, sample: Mapping[str, Array]) -> None:
        """Start the first sample everywhere."""
        self._submit_reference(sample)
        for comparison in list(self._running.values()):
            self._submit(comparison, sample)

    def step(self, index: int, following: Mapping[str, Array] | None, labels: NDArray[np.int64] | None) -> None:
        """Wait for a sample's results; who has given one starts on the following sample while others still run."""
        try:
            outputs = self._reference.collect()
        except RuntimeFailedError as error:
            raise ModelError(str(error)) from error
        expected = _expected(outputs, index, self.scores, labels)
        if following is not None:
            self._submit_reference(following)
        done = []
        for comparison in list(self._running.values()):
            if self._collected(comparison, expected):
                done.append(comparison)
                if following is not None:
                    self._submit(comparison, following)
        for one, other in combinations(done, 2):
            if other.subject.target == one.subject.target:
                one.agree(other)

    def _submit_reference(self, sample: Mapping[str, Array]) -> None:
        try:
            self._reference.submit(sample)
        except RuntimeFailedError as error:
            raise ModelError(str(error)) from error

    def _submit(self, comparison: Comparison, sample: Mapping[str, Array]) -> None:
        try:
            comparison.submit(sample)
        except RuntimeFailedError as error:
            self._fail(comparison.subject, str(error))

    def _collected(self, comparison: Comparison, expected: Expected) -> bool:
        try:
            fault = comparison.collect(expected)
        except RuntimeFailedError as error:
            fault = str(error)
        if fault is not None:
            self._fail(comparison.subject, fault)
        return fault is None

    def _fail(self, subject: Subject, fault: str) -> None:
        self._failures.setdefault(subject, []).append(Shortfall(fault))
        self._running.pop(subject, None)

    def verdict(self, subjects: Sequence[Subject], advice: str) -> list[Verified]:
        """The results in the order of ``subjects``; raises GateError with all failures."""
        verified = {s: Verified(s, c.verification(self._batch), c.delegation) for s, c in self._running.items()}
        for subject, result in verified.items():
            missed = shortfalls(result.verification, subject.gate, classifies=self.classifies)
            if missed:
                self._failures[subject] = missed
        if self._failures:
            failed = spell_failures({s: self._failures[s] for s in subjects if s in self._failures})
            raise GateError(f"verification failed: {failed}: {advice}")
        return [verified[subject] for subject in subjects]


def _followers(
    samples: Iterable[Mapping[str, Array]], begin: Callable[[Mapping[str, Array]], None]
) -> Iterator[Mapping[str, Array] | None]:
    """For each sample the one behind it, None for the last; ``begin`` gets the first."""
    following = iter(samples)
    current = next(following, None)
    if current is not None:
        begin(current)
    while current is not None:
        current = next(following, None)
        yield current


def _expected(
    outputs: dict[str, Array], index: int, scores: ClassScores | None, labels: NDArray[np.int64] | None
) -> Expected:
    for name, output in outputs.items():
        if not np.isfinite(output).all():
            raise ModelError(
                f'the source model\'s output "{name}" has NaN or infinity on sample {index}; expected finite numbers: '
                "check the model, or give samples that are like its real inputs"
            )
    if scores is None or labels is None:
        return Expected(index, outputs, scores, None)
    batch = outputs[scores.name].shape[0]
    return Expected(index, outputs, scores, labels[index * batch : (index + 1) * batch])


def _usable_scores(model: ir.Model, labels: NDArray[np.int64] | None) -> tuple[ClassScores | None, bool]:
    """The output of class scores, and whether top-1 means anything for it: labels say so, or what computes it."""
    scores = find_scores(model)
    if scores is None:
        return None, False
    fitting = labels is not None and bool((labels < scores.classes).all())
    if scores.threshold is not None and not scores.plausible and not fitting:
        return None, False
    return scores, scores.plausible or fitting


def is_classifier(model: ir.Model, labels: NDArray[np.int64] | None) -> bool:
    """Whether top-1, against ``labels`` or else against the source, means anything for ``model``."""
    return _usable_scores(model, labels)[1]
