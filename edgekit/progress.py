"""How long work tells what it is doing: the pipeline speaks to a Progress, the command line draws it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Call with the number of steps done since the last call."""


class Progress(Protocol):
    """Told of each stage when it begins; ``total`` is its number of steps, None when that is not known."""

    def stage(self, description: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """A stage of the work, for the time of a ``with`` block."""
        ...


class Silent:
    """The Progress of the Python API: says nothing."""

    @contextmanager
    def stage(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """A stage that nobody sees."""
        yield lambda steps: None
