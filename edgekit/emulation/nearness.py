"""Whether roundings that add up cost anything: both runs against the source model, on the same samples."""

import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import onnx_ir as ir

from edgekit.emulation.tolerance import MAX_LOST_DB
from edgekit.errors import ModelError
from edgekit.graph import storage
from edgekit.runtimes import Array
from edgekit.runtimes.process import RuntimeFailedError, RuntimeProcess
from edgekit.verification.adaptation import from_artifact
from edgekit.verification.comparison import Subject
from edgekit.verification.metrics import OutputError

Outputs = Sequence[Mapping[str, Array]]


class SourceOutputs:
    """The source model, started when it is first asked for; a context manager that threads may share."""

    def __init__(self, source: ir.Model | None) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._known: dict[int, list[dict[str, Array]]] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="edgekit-")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def lost_db(
        self, subject: Subject, samples: Sequence[Mapping[str, Array]], native: Outputs, emulated: Outputs
    ) -> float | None:
        """By how many dB the SQNR of the emulated run is lower than that of this machine's; None without a source."""
        if self._source is None:
            return None
        with self._lock:
            if id(samples) not in self._known:
                self._known[id(samples)] = self._run(self._source, samples)
            expected = self._known[id(samples)]
        return _sqnr_db(subject, expected, native) - _sqnr_db(subject, expected, emulated)

    def _run(self, source: ir.Model, samples: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
        path = Path(self._folder.name, "source.onnx")
        storage.save(source, path)
        try:
            with RuntimeProcess("onnx", path, label="the source model") as process:
                return [process.run(sample) for sample in samples]
        except RuntimeFailedError as error:
            raise ModelError(str(error)) from error


def nearness_fault(lost_db: float | None) -> str | None:
    """What is wrong with roundings that add up, or None."""
    if lost_db is None:
        return "more than one step is let through only after a comparison with the source: leave --hashes-only out"
    if lost_db > MAX_LOST_DB:
        return f"SQNR against the source is {lost_db:.1f} dB lower than here, at most {MAX_LOST_DB:g} allowed"
    return None


def _sqnr_db(subject: Subject, expected: Outputs, outputs: Outputs) -> float:
    error = OutputError()
    for reference, found in zip(expected, outputs, strict=True):
        found = from_artifact(found, subject.interface)
        for name, values in reference.items():
            error.update(values, found[name])
    return error.sqnr_db
