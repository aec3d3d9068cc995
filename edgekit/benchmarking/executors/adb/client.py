"""The ``adb`` program: where it is, and how it is run without ever waiting or reading for ever."""

import importlib.util
import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import DependencyError, DeviceError

MAXIMUM_OUTPUT = 32 << 20
"""No measuring program writes more, in bytes; one that does has gone wild."""

_CHUNK = 1 << 16
_SERVER_START_S = 60.0
# Output that a program has left in its pipes is read for so long after its end; others may hold the pipes open.
_DRAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Output:
    """How adb itself ended and what came through it."""

    exit_code: int
    stdout: str
    stderr: str


def find_adb() -> Path:
    """The adb on PATH, of ANDROID_HOME or ANDROID_SDK_ROOT, or the one of the extra ``adb``, in that order.

    Raises DependencyError.
    """
    for path in _candidates():
        if path.is_file() and os.access(path, os.X_OK):
            return path
    raise DependencyError(
        "devices over adb need adb, which is not found on PATH or in ANDROID_HOME: "
        "pip install 'edgekit[adb]', or install Android's platform-tools"
    )


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("adb")
    if on_path:
        yield Path(on_path)
    for variable in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        if os.environ.get(variable):
            yield Path(os.environ[variable], "platform-tools", "adb")
    # adbutils carries Google's adb; it is not imported, only looked into.
    spec = importlib.util.find_spec("adbutils")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(folder, "binaries", "adb")


class Adb:
    """Runs adb commands. The server is started by the first one, on its own, as it outlives the command."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or find_adb()
        self._start_server()

    def run(self, arguments: Sequence[str], *, timeout: float) -> Output:
        """Run ``adb ARGUMENTS``. Raises TimeoutError after ``timeout`` seconds, DeviceError for endless output."""
        return run_bounded([str(self.path), *arguments], timeout)

    def _start_server(self) -> None:
        try:
            started = self.run(["start-server"], timeout=_SERVER_START_S)
        except TimeoutError:
            raise DeviceError(f"{self.path} start-server hangs; end the old adb server and try again") from None
        if started.exit_code != 0:
            words = last_words(started.stderr or started.stdout)
            raise DeviceError(f"{self.path} start-server failed: {words}; expected a running adb server")


def run_bounded(command: Sequence[str], timeout: float) -> Output:
    """Run a local program without input; its output is bounded by MAXIMUM_OUTPUT and its time by ``timeout``.

    Raises TimeoutError, and DeviceError when it writes more than that or cannot be started.
    """
    deadline = time.monotonic() + timeout
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
    except OSError as error:
        raise DeviceError(f"{command[0]}: cannot be started: {error.strerror}") from None
    try:
        stdout, stderr = _read_all(process, command[0], deadline)
        process.wait(max(deadline - time.monotonic(), _DRAIN_S))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
    return Output(process.returncode, _text(stdout), _text(stderr))


def _read_all(process: "subprocess.Popen[bytes]", name: str, deadline: float) -> tuple[bytearray, bytearray]:
    stdout, stderr = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for pipe, data in ((process.stdout, stdout), (process.stderr, stderr)):
            if pipe:
                selector.register(pipe, selectors.EVENT_READ, data)
        while selector.get_map():
            ended = process.poll() is not None
            ready = selector.select(_DRAIN_S if ended else min(max(deadline - time.monotonic(), 0.0), 1.0))
            for key, _ in ready:
                chunk = os.read(key.fd, _CHUNK)
                key.data.extend(chunk)
                if not chunk:
                    selector.unregister(key.fileobj)
            if ended and not ready:
                break
            if time.monotonic() > deadline:
                raise TimeoutError
            if len(stdout) + len(stderr) > MAXIMUM_OUTPUT:
                raise DeviceError(f"{name} wrote more than {MAXIMUM_OUTPUT >> 20} MiB; it was stopped")
    return stdout, stderr


def _text(data: bytearray) -> str:
    return data.decode("utf-8", "replace").replace("\r\n", "\n")


def last_words(text: str) -> str:
    """The last line of ``text`` that is not empty, in one line of at most 300 characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"
