"""The engines that run artifacts: one module per runtime, found by format name and imported when chosen.

A runtime module defines ``RUNTIME``, an object with the :class:`Runtime` protocol, and imports its native library only
inside functions. To add one, write ``edgekit/runtimes/<name>.py`` and a row in ``_MODULES``.

Nothing unproven is loaded in the calling process: use :class:`edgekit.runtimes.process.RuntimeProcess`.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from edgekit.errors import UsageError, nearest
from edgekit.interface import Precision, TensorSpec

Array = np.ndarray[Any, np.dtype[Any]]

_MODULES = {
    "onnx": "edgekit.runtimes.onnxruntime",
    "tflite": "edgekit.runtimes.litert",
    "mnn": "edgekit.runtimes.mnn",
}

FORMATS = tuple(_MODULES)
"""The file formats that have a runtime here."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """One operation that the runtime does not accelerate: its kind, its node in the file, and why."""

    op: str
    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Delegation:
    """How much of a file runs in the runtime's fast kernels. ``fallback`` names the other operations."""

    accelerated_ops: int
    total_ops: int
    fallback: tuple[Fallback, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The manifest's ``delegation``."""
        fallback = [{"op": entry.op, "node": entry.node, "reason": entry.reason} for entry in self.fallback]
        return {"accelerated_ops": self.accelerated_ops, "total_ops": self.total_ops, "fallback": fallback}


class Session(Protocol):
    """A loaded artifact. ``inputs`` and ``outputs`` are as the file has them, in the file's order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once. ``feeds`` holds every input by name, in its dtype and shape; the result holds every output."""
        ...

    def delegation(self) -> Delegation | None:
        """How much of the file is accelerated, or None when this runtime cannot tell."""
        ...

    def close(self) -> None:
        """Free the native memory. The session cannot run afterwards."""
        ...


class Runtime(Protocol):
    """An engine for one file format. ``package`` is what PyPI calls it, ``name`` what the manifest calls it."""

    format: str
    name: str
    package: str

    def version(self) -> str:
        """The version of the installed engine. Raises DependencyError when it is missing."""
        ...

    def load(self, path: Path, threads: int, precision: Precision | None = None) -> Session:
        """Load an artifact for ``threads`` CPU threads, in this process, to run in ``precision`` (None: as it says).

        Raises DependencyError when the engine is missing and ModelError when it refuses the file. A bad file may crash
        the process. Writes nothing beside ``path``.
        """
        ...


def find_runtime(format_name: str) -> Runtime:
    """The runtime for a file format ("onnx", "tflite", "mnn"). Raises UsageError for any other name."""
    if format_name not in _MODULES:
        known = ", ".join(FORMATS)
        raise UsageError(
            f'no runtime for format "{format_name}"{nearest(format_name, FORMATS)}; expected one of {known}'
        )
    return cast(Runtime, importlib.import_module(_MODULES[format_name]).RUNTIME)
