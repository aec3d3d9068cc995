"""A phone on loopback: files below a folder, Android's commands as small scripts, and every fault a phone can have."""

import functools
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

from edgekit.benchmarking.elf import elf_abi
from tests.benchmarking.adb.adbd import Service, Transport
from tests.benchmarking.adb.services import Shell, Sync

TEMPORARY = "/data/local/tmp"

PROPERTIES = {
    "ro.product.manufacturer": "Google",
    "ro.product.model": "Pixel 6",
    "ro.product.device": "oriole",
    "ro.product.name": "oriole",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.product.cpu.abilist": "arm64-v8a,armeabi-v7a,armeabi",
    "ro.soc.manufacturer": "Google",
    "ro.soc.model": "Tensor",
    "ro.board.platform": "gs101",
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
    "ro.build.fingerprint": "google/oriole/oriole:14/UP1A.231005.007/10754064:user/release-keys",
}

_POWER = """#!/bin/sh
# cmd power set-fixed-performance-mode-enabled true|false
[ -e "$ROOT/power-refuses" ] && { echo "Failed to set FIXED_PERFORMANCE mode" >&2; exit 255; }
echo "$3" >> "$ROOT/fixed-performance"
"""
_DUMPSYS = """#!/bin/sh
case "$1" in
thermalservice) printf 'IsStatusOverride: false\\nThermal Status: 0\\n' ;;
battery) printf 'Current Battery Service state:\\n  level: 88\\n' ;;
esac
"""
_DF = """#!/bin/sh
printf 'Filesystem 1K-blocks Used Available Use%% Mounted on\\n/dev/block/dm-8 1000000 999000 '
echo "$(cat "$ROOT/free-kilobytes" 2>/dev/null || echo 500000) 99% /data"
"""


@functools.cache
def _toybox_commands() -> tuple[str, ...]:
    """Android's tools, where this machine has them."""
    toybox = shutil.which("toybox")
    if toybox is None:
        return ()
    return tuple(subprocess.run([toybox], capture_output=True, text=True, check=True).stdout.split())


class Phone:
    """Listens on ``port`` of 127.0.0.1; its files are below ``root``.

    Its shell and its tools are Android's, mksh and toybox, where this machine has them.

    Faults are attributes, set before or while used.

    ``auth``: none, accept or reject. ``silent``: it takes connections and never answers. ``room``: so many bytes can
    still be written. ``truncates``: it writes what fits and says that all is well. ``emulator``: the command that runs
    programs of another processor.
    """

    def __init__(self, root: Path, properties: dict[str, str] | None = None) -> None:
        self.root = root
        self.auth = "none"
        self.silent = False
        self.room: int | None = None
        self.truncates = False
        self.refuses_writes = False
        self.emulator = ""
        self.properties = PROPERTIES if properties is None else properties
        self._shell = shutil.which("mksh") or "/bin/sh"
        self._transports: list[Transport] = []
        self._programs: list[subprocess.Popen[bytes]] = []
        self._install()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.serial = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def files(self) -> Path:
        """Where edgekit's files are."""
        return self.real(f"{TEMPORARY}/edgekit")

    def programs(self) -> list[int]:
        """The process groups of the programs that still run."""
        return [program.pid for program in self._programs if program.poll() is None]

    def command(self, name: str, script: str) -> None:
        """Give the phone a command."""
        path = self.root / "bin" / name
        path.write_text(script.replace("$ROOT", str(self.root)))
        path.chmod(0o755)

    def unplug(self) -> None:
        """The cable is pulled: no connection, and no new one."""
        # Closing alone does not wake the thread that accepts: it would take one more connection.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for transport in self._transports:
            transport.disconnect()

    def stop(self) -> None:
        self.unplug()
        for group in self.programs():
            os.killpg(group, signal.SIGKILL)

    def real(self, path: str) -> Path:
        """Where the phone's ``path`` is on this machine, never outside the root."""
        return Path(self.root, os.path.normpath(f"/{path}").lstrip("/"))

    def room_for(self, path: Path, size: int) -> int:
        """How many bytes of a file of ``size`` can be written; negative: so many, and nobody is told."""
        if self.room is None or size <= self.room:
            return size
        return -self.room if self.truncates else self.room

    def start(self, command: str) -> "subprocess.Popen[bytes]":
        """Run a shell command as adbd does: the leader of a group of its own."""
        path = f"{self.root}/bin:{self.root}/system/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        environment = {"PATH": path, "HOME": "/", "TMPDIR": TEMPORARY}
        local = re.sub(rf"(?<![\w./-]){TEMPORARY}(?=[/\s'\";]|$)", str(self.real(TEMPORARY)), command)
        program = subprocess.Popen(
            [self._shell, "-c", self._emulated(local)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.root,
            env=environment,
            start_new_session=True,
        )
        self._programs.append(program)
        return program

    def _emulated(self, command: str) -> str:
        """Put the emulator in front of the programs in ``command`` that this machine does not run itself."""
        if not self.emulator:
            return command

        def emulate(match: "re.Match[str]") -> str:
            path = Path(match["path"])
            foreign = path.is_file() and elf_abi(path) == "arm64-v8a" and os.uname().machine != "aarch64"
            return f"{match['before']}{self.emulator} {path}" if foreign else match[0]

        before = r"(?:&& |; |exec )(?:taskset [0-9a-f]+ )?(?:env (?:\S+=\S* )*)?"
        return re.sub(rf"(?P<before>{before})(?P<path>/[^\s;&'\"]+)", emulate, command)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            names = ("ro.product.name", "ro.product.model", "ro.product.device")
            banner = "".join(f"{name}={self.properties.get(name, 'board')};" for name in names)
            transport = Transport(connection, banner, self.auth, self._service)
            self._transports.append(transport)
            if not self.silent:
                transport.start()

    def _service(self, name: str) -> Service | None:
        if name.startswith("shell"):
            return Shell(self)
        return Sync(self) if name == "sync:" else None

    def _install(self) -> None:
        for folder in ("bin", "system/bin", TEMPORARY.lstrip("/")):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        system = self.root / "system" / "bin"
        (system / "sh").symlink_to(self._shell)
        for name in _toybox_commands():
            (system / name).symlink_to(shutil.which("toybox") or "")
        if self.properties:
            cases = "".join(f"{key}) echo {shlex.quote(value)};;\n" for key, value in self.properties.items())
            self.command("getprop", f'#!/bin/sh\ncase "$1" in\n{cases}*) echo;;\nesac\n')
            self.command("cmd", _POWER)
            self.command("dumpsys", _DUMPSYS)
        self.command("df", _DF)
