"""A runtime in a subprocess: a bad file crashes or hangs the worker, never the caller."""

import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from edgekit.errors import DependencyError, EdgekitError, GateError, ModelError
from edgekit.graph.onnxruntime import TELEMETRY_OFF
from edgekit.interface import Precision, TensorSpec
from edgekit.runtimes import Array, Delegation, Fallback, find_runtime
from edgekit.runtimes.frames import Message, decode, encode

TIMEOUT_S = 300.0
"""How long a load or one run may take by default: large networks under an emulator take minutes."""

Launch = Callable[[str, Path], Sequence[str]]
"""The command that runs a module of edgekit, given its name and the process's own folder, to which it may add."""

_WORKER = "edgekit.runtimes.worker"
_STDERR_BYTES = 1 << 16
_STDERR_LINES = 3
_CLOSE_GRACE_S = 2.0
_ERRORS: dict[str, type[EdgekitError]] = {"DependencyError": DependencyError, "ModelError": ModelError}


class RuntimeFailedError(GateError):
    """A runtime crashed, hung or stopped on an artifact."""


class RuntimeProcess:
    """One artifact in its runtime, in a subprocess with its own working directory; a context manager.

    ``label`` is what error messages call the artifact (its path by default). ``timeout`` is in seconds, for the load
    and for each run. Entering raises ModelError when the runtime refuses the file, DependencyError when the runtime is
    missing, and RuntimeFailedError when it crashes or hangs; leaving kills the worker, whatever it does.

    ``precision`` is what the file is to run in; None: as it says by itself. ``launch`` makes the worker's command, for
    one that does not run in this Python (:meth:`edgekit.emulation.emulator.Emulator.launch`).

    ``start``, ``submit`` and ``submit_delegation`` do not wait, so that one caller keeps several runtimes busy;
    entering, ``collect`` and ``collect_delegation`` wait for the result. A worker does one thing at a time. Whoever
    calls ``start`` before entering must ``close``.
    """

    def __init__(
        self,
        format_name: str,
        path: Path,
        threads: int = 1,
        *,
        timeout: float = TIMEOUT_S,
        label: str | None = None,
        precision: Precision | None = None,
        launch: Launch | None = None,
    ) -> None:
        self.format = format_name
        self.label = label or str(path)
        self.runtime = find_runtime(format_name).name
        self.version = ""
        self.inputs: tuple[TensorSpec, ...] = ()
        self.outputs: tuple[TensorSpec, ...] = ()
        self._path = Path(path).absolute()
        self._threads = threads
        self._precision = precision
        self._timeout = timeout
        self._launch = launch or _launch_here
        self._folder: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr = _Tail()
        self._activity = "loading"

    def __enter__(self) -> Self:
        try:
            self.start()
            self._await_load()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._worker().pid

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run one sample; see :meth:`edgekit.runtimes.Session.run`. Raises RuntimeFailedError."""
        self.submit(feeds)
        return self.collect()

    def submit(self, feeds: Mapping[str, Array]) -> None:
        """Send one sample. Raises RuntimeFailedError."""
        self._activity = "running"
        self._send("run", feeds)

    def collect(self) -> dict[str, Array]:
        """The outputs of the submitted sample. Raises RuntimeFailedError."""
        return self._receive()[1]

    def time(self, feeds: Mapping[str, Array], runs: int) -> Array:
        """Milliseconds of each of ``runs`` runs of one sample, as the worker sees them. Raises RuntimeFailedError."""
        self._activity = "being timed"
        self._send("time", feeds, runs=runs)
        return self._receive()[1]["ms"]

    def delegation(self) -> Delegation | None:
        """How much of the artifact the runtime accelerates; None when it cannot tell. Raises RuntimeFailedError."""
        self.submit_delegation()
        return self.collect_delegation()

    def submit_delegation(self) -> None:
        """Ask for the delegation. Raises RuntimeFailedError."""
        self._activity = "listing its operations"
        self._send("delegation")

    def collect_delegation(self) -> Delegation | None:
        """The delegation that was asked for; see :meth:`delegation`."""
        facts = self._receive()[0]["delegation"]
        if facts is None:
            return None
        fallback = tuple(Fallback(**entry) for entry in facts["fallback"])
        return Delegation(facts["accelerated_ops"], facts["total_ops"], fallback)

    def kill(self) -> None:
        """End the worker while another thread waits for it, which gets a RuntimeFailedError; it still has to close."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the worker and remove its working directory. Safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
            self._stderr.join()
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def start(self) -> None:
        """Start the worker and its load, once; entering waits for it. Raises RuntimeFailedError."""
        if self._process is not None:
            return
        self._folder = tempfile.mkdtemp(prefix="edgekit-runtime-")
        self._process = subprocess.Popen(
            list(self._launch(_WORKER, Path(self._folder))),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=self._folder,
            env=_environment(self._folder),
            # Ctrl-C goes to the caller alone, who ends the worker.
            start_new_session=True,
        )
        os.set_blocking(_fd(self._process.stdin), False)
        os.set_blocking(_fd(self._process.stdout), False)
        self._stderr.follow(self._process.stderr)
        facts: dict[str, Any] = {
            "format": self.format,
            "path": str(self._path),
            "threads": self._threads,
            "timeout": self._timeout,
        }
        facts["precision"] = None if self._precision is None else str(self._precision)
        self._send("load", **facts)

    def _await_load(self) -> None:
        header, _ = self._receive()
        self.runtime, self.version = header["runtime"], header["version"]
        self.inputs = tuple(TensorSpec(**_tuples(spec)) for spec in header["inputs"])
        self.outputs = tuple(TensorSpec(**_tuples(spec)) for spec in header["outputs"])

    def _worker(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeFailedError(f"{self.label}: its {self.runtime} worker is not running; enter the context first")
        return self._process

    def _send(self, kind: str, tensors: Mapping[str, Array] | None = None, **fields: Any) -> None:
        fd = _fd(self._worker().stdin)
        deadline = time.monotonic() + self._timeout
        try:
            for piece in encode(kind, tensors, **fields):
                rest = piece
                while rest:
                    self._wait(fd, selectors.EVENT_WRITE, deadline)
                    rest = rest[os.write(fd, rest) :]
        except BrokenPipeError as error:
            raise self._stopped() from error

    def _receive(self) -> tuple[Message, dict[str, Array]]:
        fd = _fd(self._worker().stdout)
        deadline = time.monotonic() + self._timeout

        def read(size: int) -> bytes:
            content = bytearray(size)
            rest = memoryview(content)
            while rest:
                self._wait(fd, selectors.EVENT_READ, deadline)
                count = os.readv(fd, [rest])
                if not count:
                    raise EOFError
                rest = rest[count:]
            return content  # type: ignore[return-value]  # writable memory for the arrays, without a copy

        try:
            header, tensors = decode(read)
        except EOFError as error:
            raise self._stopped() from error
        if header["kind"] == "error":
            message = header["message"].replace(str(self._path), self.label)
            raise _ERRORS.get(header["error"], RuntimeFailedError)(message)
        return header, tensors

    def _wait(self, fd: int, event: int, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(fd, event)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise RuntimeFailedError(
                    f"{self.label}: {self.runtime} gave no answer in {self._timeout:g} s while {self._activity}; "
                    f"expected a result: simplify the model or check the file{self._stderr.quoted()}"
                )

    def _stopped(self) -> RuntimeFailedError:
        """The error for a worker whose pipes closed: how it ended, and the end of what it wrote on standard error."""
        process = self._worker()
        try:
            code = process.wait(_CLOSE_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        self._stderr.join()
        return RuntimeFailedError(
            f"{self.label}: {self.runtime} {_ending(code)} while {self._activity}; expected it to run this file: "
            f"do not ship it{self._stderr.quoted()}"
        )


class _Tail:
    """The end of a worker's standard error, drained by a thread so that the worker never blocks on it."""

    def __init__(self) -> None:
        self._content = b""
        self._thread: threading.Thread | None = None

    def follow(self, stream: IO[bytes] | None) -> None:
        assert stream is not None
        self._thread = threading.Thread(target=self._drain, args=(stream,), daemon=True)
        self._thread.start()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join(_CLOSE_GRACE_S)

    def quoted(self) -> str:
        """`` (its last words: ...)``, on one line, or nothing."""
        lines = [line.rstrip() for line in self._content.decode(errors="replace").splitlines() if line.strip()]
        # Of a traceback only its last line is for the user; the others are indented.
        lines = [line for line in lines if not line.startswith((" ", "Traceback", "INFO:"))]
        return f" (its last words: {' | '.join(lines[-_STDERR_LINES:])})" if lines else ""

    def _drain(self, stream: IO[bytes]) -> None:
        with stream:
            while content := stream.read(1 << 12):
                self._content = (self._content + content)[-_STDERR_BYTES:]


def _launch_here(module: str, folder: Path) -> list[str]:
    # -P: a numpy.py in the user's directory is not ours to run.
    return [sys.executable, "-P", "-m", module]


def _environment(folder: str) -> dict[str, str]:
    package_root = str(Path(__file__).parents[2])
    search_path = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    # What the runtime itself puts into the temporary directory goes when the worker goes.
    # The worker multiplies no matrices in numpy: OpenBLAS need not start threads for it.
    single = {"OPENBLAS_NUM_THREADS": "1"}
    return {**single, **TELEMETRY_OFF, **os.environ, "PYTHONPATH": os.pathsep.join(search_path), "TMPDIR": folder}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close the pipes and kill: a worker holds nothing that needs a farewell."""
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    process.wait()


def _ending(code: int) -> str:
    number = -code if code < 0 else code - 128
    if number in {signal.SIGKILL}:
        return "was killed (SIGKILL, as when the memory is exhausted)"
    if number in set(signal.Signals):
        return f"crashed with {signal.Signals(number).name}"
    return f"stopped with exit code {code}"


def _fd(stream: IO[bytes] | None) -> int:
    assert stream is not None
    return stream.fileno()


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
