"""What a user may set of a benchmark, checked and typed once for the command line and the Python API."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Self, TypedDict

from edgekit.benchmarking.results import Journal
from edgekit.errors import UsageError, nearest
from edgekit.progress import Progress, Silent

RUNTIMES = ("litert", "onnxruntime", "mnn")
DELEGATES = ("xnnpack", "gpu", "nnapi", "none")

MAXIMUM_THREADS = 1024
MAXIMUM_DURATION_S = 24 * 3600.0

_Path = str | PathLike[str]


class BenchmarkKeywords(TypedDict, total=False):
    """The keyword arguments of :func:`edgekit.benchmark`; each is the flag of the same name.

    device: a device profile, a ``.toml`` file, ``local``, ``adb:SERIAL`` or ``ssh:HOST``.
    threads: threads of the runtime, the device profile's by default.
    runtime: ``"litert"``, ``"onnxruntime"`` or ``"mnn"``: measure this engine's artifacts only.
    delegate: ``"xnnpack"``, ``"gpu"``, ``"nnapi"`` or ``"none"``, instead of what the target has; else XNNPACK for
        TFLite files and the CPU for others. What the device's programs cannot do is refused.
    duration: seconds of each artifact, instead of a number of runs.
    quick: 10 s or 128 runs of each artifact, instead of 60 s or 1024.
    compare: an artifact or an export to measure in turn with the others, as the baseline.
    profile: time each operation, too.
    out: a JSON file that always has what is measured so far.
    target: of an export only this target's artifacts; the target profile whose promises must hold (that of the
        manifest, or of the device, by default).
    history: record the figures in the history (``edgekit history``); true by default.
    journal: called with everything that is measured so far, after each trial.
    progress: told of each stage.
    """

    device: str
    threads: int | None
    runtime: str | None
    delegate: str | None
    duration: float | None
    quick: bool
    compare: _Path | None
    profile: bool
    out: _Path | None
    target: str | None
    history: bool
    journal: Journal | None
    progress: Progress | None


@dataclass(frozen=True, slots=True)
class BenchmarkSettings:
    """The checked settings of one benchmark; see :class:`BenchmarkKeywords`."""

    device: str = "local"
    threads: int | None = None
    runtime: str | None = None
    delegate: str | None = None
    duration: float | None = None
    quick: bool = False
    compare: str | None = None
    profile: bool = False
    out: Path | None = None
    target: str | None = None
    history: bool = True
    journal: Journal | None = None
    progress: Progress = field(default_factory=Silent)

    @classmethod
    def of(cls, keywords: BenchmarkKeywords) -> Self:
        """Check ``keywords``. Raises UsageError."""
        _require_known(keywords)
        given: dict[str, Any] = {key: value for key, value in keywords.items() if value is not None}
        _require_one_of("runtime", given, RUNTIMES)
        _require_one_of("delegate", given, DELEGATES)
        _require_threads(given)
        _require_duration(given)
        for key, kind in (("compare", os.fspath), ("out", Path)):
            if key in given:
                given[key] = kind(given[key])
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """What decides the result, for the report."""
        return {
            "device": self.device,
            "runtime": self.runtime,
            "delegate": self.delegate,
            "duration": self.duration,
            "quick": self.quick,
            "compare": self.compare,
            "target": self.target,
        }


def _require_known(keywords: Mapping[str, Any]) -> None:
    unknown = sorted(set(keywords) - set(BenchmarkKeywords.__annotations__))
    if unknown:
        raise UsageError(f'unknown argument "{unknown[0]}"{nearest(unknown[0], BenchmarkKeywords.__annotations__)}')


def _require_one_of(key: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    if key in given and given[key] not in known:
        raise UsageError(f"--{key} {given[key]}: expected one of {', '.join(known)}{nearest(str(given[key]), known)}")


def _require_threads(given: Mapping[str, Any]) -> None:
    threads = given.get("threads", 1)
    if not isinstance(threads, int) or not 1 <= threads <= MAXIMUM_THREADS:
        raise UsageError(f"--threads {threads}: expected a whole number from 1 to {MAXIMUM_THREADS}")


def _require_duration(given: Mapping[str, Any]) -> None:
    duration = given.get("duration", 1.0)
    if not isinstance(duration, int | float) or not (math.isfinite(duration) and 0 < duration <= MAXIMUM_DURATION_S):
        raise UsageError(f"--duration {duration}: expected seconds, more than 0 and at most {MAXIMUM_DURATION_S:g}")
