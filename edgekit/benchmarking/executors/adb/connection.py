"""One device behind adb: its state, its shell and its files. Here adb's own failures become DeviceErrors."""

import re
import secrets
import shlex
import time
from contextlib import suppress
from pathlib import Path

from edgekit.benchmarking.executors import Completed
from edgekit.benchmarking.executors.adb.client import Adb, Output, last_words
from edgekit.benchmarking.executors.adb.listing import advice
from edgekit.errors import DeviceError

QUICK_S = 30.0
"""For commands that answer at once, in seconds."""

_CONNECT_S = 10.0
_POLL_S = 0.2
# Well below what a slow USB 2 cable moves.
_SLOWEST_BYTES_PER_S = 1 << 20

_NETWORK_SERIAL = re.compile(r".+:\d{1,5}")


class Connection:
    """The device with this serial number. All methods raise DeviceError, which says what to do."""

    def __init__(self, adb: Adb, serial: str) -> None:
        self.serial = serial
        self.name = f"adb:{serial}"
        self._adb = adb

    def open(self) -> bool:
        """Make sure that the device answers; a ``host:port`` is connected first. True: it was not connected before."""
        state = self.state()
        if state == "device" or not _NETWORK_SERIAL.fullmatch(self.serial):
            self.require(state)
            return False
        # The exit code says nothing: it is 0 for a refused connection too.
        answer = self._run(["connect", self.serial], timeout=QUICK_S)
        deadline = time.monotonic() + _CONNECT_S
        while (state := self.state()) != "device" and state != "unauthorized" and time.monotonic() < deadline:
            if "refused" in answer.stdout or "failed" in answer.stdout or "cannot" in answer.stdout:
                break
            time.sleep(_POLL_S)
        if state == "missing":
            raise DeviceError(f"{self.name}: {last_words(answer.stdout + answer.stderr)}; {advice('refused')}")
        self.require(state)
        return True

    def close(self) -> None:
        """Undo a connection that :meth:`open` made."""
        self._run(["disconnect", self.serial], timeout=QUICK_S)

    def state(self) -> str:
        """What ``adb get-state`` says: device, offline, unauthorized, recovery...; "missing" when it is not there."""
        answer = self._run(["-s", self.serial, "get-state"], timeout=QUICK_S)
        if answer.exit_code == 0:
            return answer.stdout.strip()
        for state in ("unauthorized", "offline", "authorizing", "connecting", "no permissions"):
            if state in answer.stderr:
                return state
        return "missing"

    def require(self, state: str) -> None:
        """Raise DeviceError unless ``state`` is one in which the device runs programs."""
        if state != "device":
            raise DeviceError(f"{self.name} is {state}: {advice(state)}")

    def shell(self, script: str, *, timeout: float) -> Completed:
        """Run a script in the device's ``sh``. Raises TimeoutError when it is not done in time; it may still run then.

        The end of the script is marked in its output: without the mark it was adb that failed, not the script. Devices
        before Android 7 do not pass exit codes on, the mark does.
        """
        mark = f"edgekit-{secrets.token_hex(8)}:"
        marked = f"( {script}\n); code=$?; echo; echo {mark}$code"
        output = self._adb.run(["-s", self.serial, "shell", marked], timeout=timeout)
        stdout, found, code = output.stdout.rpartition(f"\n{mark}")
        if not found or not code.strip().isdigit():
            raise self.failure(output)
        return Completed(int(code), stdout, output.stderr)

    def shell_command(self, script: str) -> str:
        """What a short script of edgekit's own writes; DeviceError when it fails or does not end."""
        try:
            done = self.shell(script, timeout=QUICK_S)
        except TimeoutError:
            raise self.silent(QUICK_S) from None
        if done.exit_code != 0:
            words = last_words(done.stderr or done.stdout)
            raise DeviceError(f"{self.name}: {words} (exit code {done.exit_code} of: {last_words(script)[:60]})")
        return done.stdout

    def push(self, local: Path, remote: str) -> Output:
        """Copy a file to the device; an exit code other than 0 is the caller's to explain, if the device is there."""
        return self._copy(["push", str(local), remote], local.stat().st_size)

    def pull(self, remote: str, local: Path, size: int) -> Output:
        """Copy a file of ``size`` bytes from the device; exit codes as for :meth:`push`."""
        return self._copy(["pull", remote, str(local)], size)

    def _copy(self, arguments: list[str], size: int) -> Output:
        timeout = QUICK_S + size / _SLOWEST_BYTES_PER_S
        output = self._run(["-s", self.serial, *arguments], timeout=timeout)
        if output.exit_code != 0 and self.state() != "device":
            raise self.failure(output)
        return output

    def failure(self, output: Output) -> DeviceError:
        """Why adb itself failed: the device's state if that explains it, else adb's last words."""
        state = "missing"
        with suppress(DeviceError):
            state = self.state()
        if state != "device":
            return DeviceError(f"{self.name} is {'gone' if state == 'missing' else state}: {advice(state)}")
        words = last_words(output.stderr or output.stdout)
        return DeviceError(f"{self.name}: the connection broke ({words}); check the cable and `adb devices`, try again")

    def silent(self, seconds: float) -> DeviceError:
        """The error for a device that does not answer."""
        return DeviceError(f"{self.name} has not answered for {seconds:.3g} s; check the cable and `adb devices`")

    def _run(self, arguments: list[str], *, timeout: float) -> Output:
        try:
            return self._adb.run(arguments, timeout=timeout)
        except TimeoutError:
            raise self.silent(timeout) from None


def quoted(*words: str) -> str:
    """The words as one piece of a ``sh`` script."""
    return shlex.join(words)
