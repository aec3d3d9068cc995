"""Talk with a local program through its pipes: bounded in time and in size, and never blocked by either side."""

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Iterable
from typing import IO

_CHUNK_BYTES = 1 << 16
_EACH_WAIT_S = 1.0


class OutputTooLongError(Exception):
    """The program wrote more than ``limit`` bytes."""


class Exchange:
    """The pipes of ``process``, which has all three. ``stdout`` and ``stderr`` are what was read so far.

    All methods raise TimeoutError at ``deadline`` (of ``time.monotonic``) and OutputTooLongError.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", limit: int) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._limit = limit
        self._selector = selectors.DefaultSelector()
        self._stdin = _fd(process.stdin)
        os.set_blocking(self._stdin, False)
        for stream, content in ((process.stdout, self.stdout), (process.stderr, self.stderr)):
            if stream is not None:
                self._selector.register(_fd(stream), selectors.EVENT_READ, content)

    def send(self, chunks: Iterable[bytes], deadline: float) -> None:
        """Write everything, and read in the meantime. A program that has ended is no error."""
        try:
            for chunk in chunks:
                rest = memoryview(chunk)
                while rest:
                    if self._wait(deadline, writing=True):
                        rest = rest[os.write(self._stdin, rest) :]
        except BrokenPipeError:
            return

    def read(self, deadline: float, until: Callable[[], bool] = lambda: False) -> None:
        """Read until the program closes its output, or ``until`` says that it is enough."""
        while self._selector.get_map() and not until():
            self._wait(deadline, writing=False)

    def close(self) -> None:
        """Free what watches the pipes; they stay as they are."""
        self._selector.close()

    def _wait(self, deadline: float, *, writing: bool) -> bool:
        """Wait a little for something to read, and read it; true when stdin takes more."""
        if writing:
            self._selector.register(self._stdin, selectors.EVENT_WRITE)
        try:
            ready = self._selector.select(min(_EACH_WAIT_S, max(0.0, deadline - time.monotonic())))
        finally:
            if writing:
                self._selector.unregister(self._stdin)
        writable = False
        for key, _ in ready:
            if key.fd == self._stdin:
                writable = True
            else:
                self._take(key.fd, key.data)
        if not ready and time.monotonic() >= deadline:
            raise TimeoutError
        return writable

    def _take(self, fd: int, content: bytearray) -> None:
        chunk = os.read(fd, _CHUNK_BYTES)
        if not chunk:
            self._selector.unregister(fd)
        content += chunk
        if len(content) > self._limit:
            raise OutputTooLongError


def _fd(stream: IO[bytes] | None) -> int:
    assert stream is not None
    return stream.fileno()
