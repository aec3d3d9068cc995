"""``python -m edgekit.runtimes.worker``: loads one artifact and runs the samples that arrive on standard input.

The client is :class:`edgekit.runtimes.process.RuntimeProcess`, the protocol :mod:`edgekit.runtimes.frames`. Messages:

    load {format, path, threads, precision, timeout}  ->  loaded {runtime, version, inputs, outputs}
    run + tensors                          ->  result + tensors
    time {runs} + tensors                  ->  times + ms
    delegation                             ->  delegation {delegation}

An error that edgekit raises on purpose comes back as ``error {error, message}``; any other ends the process, with the
traceback on standard error.
"""

import dataclasses
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.interface import Precision
from edgekit.runtimes import Array, Session, find_runtime
from edgekit.runtimes.frames import Message, decode, encode

# The client kills a worker that is late; the alarm ends one whose client is gone.
_ALARM_GRACE_S = 30.0


def main() -> None:
    """Serve one artifact until standard input ends."""
    requests, replies = _take_pipes()
    # A crash here is an expected event and must not fill the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        _serve(requests, replies)
    except EdgekitError as error:
        _send(replies, "error", error=type(error).__name__, message=str(error))


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the two pipes for frames alone: native libraries print on standard output whenever they like."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return requests, replies


def _serve(requests: BinaryIO, replies: BinaryIO) -> None:
    header, _ = _receive(requests)
    timeout = float(header["timeout"])
    _set_alarm(timeout)
    session = _load(header, replies)
    while True:
        _set_alarm(0)
        try:
            header, feeds = _receive(requests)
        except EOFError:
            return
        _set_alarm(timeout)
        _answer(header, feeds, session, replies)


def _load(header: Message, replies: BinaryIO) -> Session:
    runtime = find_runtime(header["format"])
    precision = None if header["precision"] is None else Precision(header["precision"])
    session = runtime.load(Path(header["path"]), header["threads"], precision)
    _send(
        replies,
        "loaded",
        runtime=runtime.name,
        version=runtime.version(),
        inputs=[dataclasses.asdict(spec) for spec in session.inputs],
        outputs=[dataclasses.asdict(spec) for spec in session.outputs],
    )
    return session


def _answer(header: Message, feeds: Mapping[str, Array], session: Session, replies: BinaryIO) -> None:
    if header["kind"] == "run":
        _send(replies, "result", session.run(feeds))
    elif header["kind"] == "time":
        _send(replies, "times", {"ms": _times_ms(session, feeds, header["runs"])})
    else:
        delegation = session.delegation()
        _send(replies, "delegation", delegation=dataclasses.asdict(delegation) if delegation else None)


def _times_ms(session: Session, feeds: Mapping[str, Array], runs: int) -> Array:
    marks = [time.perf_counter_ns()]
    for _ in range(runs):
        session.run(feeds)
        marks.append(time.perf_counter_ns())
    return np.diff(np.array(marks)) / 1e6


def _receive(requests: BinaryIO) -> tuple[Message, dict[str, Array]]:
    def read(size: int) -> bytes:
        content = requests.read(size)
        if len(content) < size:
            raise EOFError
        return content

    return decode(read)


def _send(replies: BinaryIO, kind: str, tensors: Mapping[str, Array] | None = None, **fields: Any) -> None:
    for piece in encode(kind, tensors, **fields):
        replies.write(piece)
    replies.flush()


def _set_alarm(timeout: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, timeout + _ALARM_GRACE_S if timeout else 0)


if __name__ == "__main__":
    main()
    sys.exit(0)
