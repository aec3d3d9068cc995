"""The one door to TensorFlow: imported when needed, without its chatter."""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from typing import Any

from edgekit.errors import DependencyError

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}


def require_tensorflow(purpose: str) -> None:
    """Raise DependencyError when TensorFlow is not installed; does not import it. ``purpose``: what needs it."""
    if importlib.util.find_spec("tensorflow") is None:
        raise DependencyError(f"{purpose} needs TensorFlow: pip install 'edgekit[tensorflow]'")


def load_tensorflow(purpose: str) -> Any:
    """The ``tensorflow`` module. Raises DependencyError when it is not installed."""
    require_tensorflow(purpose)
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with _native_stderr_closed():
        import tensorflow

        tensorflow.config.list_physical_devices()  # loads what is loaded late, and says so
    return tensorflow


@contextlib.contextmanager
def _native_stderr_closed() -> Iterator[None]:
    """TensorFlow's libraries write to the file descriptor before they have read their log level."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        sys.stderr.flush()
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
