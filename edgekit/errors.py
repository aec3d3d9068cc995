"""Every error that edgekit raises on purpose, one exit code per class.

    EdgekitError            1  (a bug in edgekit when it reaches the shell as itself)
    ├── UsageError          2  wrong usage: flags or arguments that make no sense together
    ├── InputError          3  bad input
    │   ├── ModelError      3  a model file that cannot be read or is not what it claims to be
    │   ├── DataError       3  calibration or evaluation data that cannot be used
    │   ├── ProfileError    3  a target, device or calibration TOML that is wrong
    │   ├── HistoryError    3  the history of benchmarks cannot be read or written
    │   └── DependencyError 3  an optional package that this input needs is not installed
    ├── UnsupportedError    4  the model uses something that the target cannot run
    ├── GateError           5  accuracy, size, latency or verification is below what was asked
    └── DeviceError         6  a device failed or is missing

Every message is one line: it names the file, the key or the node, says what was expected, and what to do.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class EdgekitError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the shell sees.

    ``document`` is what a command has found until it failed: with ``--json`` the error is printed in it.
    """

    exit_code = 1
    document: Mapping[str, Any] | None = None


class UsageError(EdgekitError):
    """Flags or arguments that make no sense (together)."""

    exit_code = 2


class InputError(EdgekitError):
    """A bad model, bad data or a bad profile."""

    exit_code = 3


class ModelError(InputError):
    """A model file that cannot be read or is not what it claims to be."""


class DataError(InputError):
    """Calibration or evaluation data that cannot be used."""


class ProfileError(InputError):
    """A target, device or calibration TOML that is wrong."""


class HistoryError(InputError):
    """The history of benchmarks cannot be read or written."""


class DependencyError(InputError):
    """An optional package that this input needs is not installed."""


class UnsupportedError(EdgekitError):
    """The model uses something that the target cannot run."""

    exit_code = 4


class GateError(EdgekitError):
    """Accuracy, size, latency or verification is below what was asked."""

    exit_code = 5


class DeviceError(EdgekitError):
    """A device failed or is missing."""

    exit_code = 6


def nearest(name: str, known: Iterable[str]) -> str:
    """``'; did you mean "precision"?'`` for a misspelt ``name``, or nothing when none of ``known`` is near."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f'; did you mean "{matches[0]}"?' if matches else ""
