"""Runs the runtime worker in the Python of another machine, under qemu user emulation."""

import platform
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import edgekit
from edgekit.emulation.cpu import Cpu
from edgekit.emulation.sysroot import find_python
from edgekit.errors import DependencyError

_PROBE_TIMEOUT_S = 120.0

# -E -s keep the host's Python packages out, -P the working directory.
_PYTHON_FLAGS = ("-E", "-s", "-P")
_WORKER = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module({module!r}, run_name='__main__')"


class Emulator:
    """qemu with one CPU and the Python that it runs; a context manager.

    ``sysroot`` has the foreign machine's files (:func:`edgekit.emulation.build_sysroot`). None is for the machine that
    this is: its own Python and wheels are run on another CPU.

    Entering raises DependencyError when qemu is missing, does not know the CPU, or cannot run the Python.
    """

    def __init__(self, cpu: Cpu, sysroot: Path | None) -> None:
        self.cpu = cpu
        self._sysroot = sysroot
        self._qemu = find_qemu(cpu.machine)
        self._stack = ExitStack()
        self._prefix: list[str] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            python, root = Path(sys.executable), None
            if self._sysroot is not None:
                root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgekit-sysroot-")))
                _overlay(self._sysroot, self.cpu, root)
                python = root / find_python(self._sysroot).relative_to(self._sysroot)
            self._prefix = self._working_prefix(python, root)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def launch(self, module: str, folder: Path) -> list[str]:
        """The command that runs ``edgekit``'s ``module`` in the emulated Python; ``folder`` is the process's own."""
        if self._sysroot is None:
            return [*self._prefix, "-P", "-m", module]
        # This package alone: what lies beside it is compiled for this machine.
        packages = folder / "packages"
        packages.mkdir()
        (packages / "edgekit").symlink_to(Path(edgekit.__file__).resolve().parent)
        return [*self._prefix, *_PYTHON_FLAGS, "-c", _WORKER.format(module=module), str(packages)]

    def _working_prefix(self, python: Path, root: Path | None) -> list[str]:
        """qemu with the first of the CPU's models that it can run this Python on."""
        told = ""
        for model in self.cpu.models:
            prefix = [self._qemu, "-cpu", model]
            if root is not None:
                # The host's libraries are not for this machine.
                prefix += ["-L", str(root), "-U", "LD_PRELOAD", "-U", "LD_LIBRARY_PATH"]
            try:
                done = subprocess.run(
                    [*prefix, str(python), *_PYTHON_FLAGS, "-c", ""],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=_PROBE_TIMEOUT_S,
                )
            except subprocess.TimeoutExpired:
                told = f"it did not start in {_PROBE_TIMEOUT_S:g} s"
                continue
            if ".avx2 " in done.stderr:
                told = "this qemu has no AVX2"
            elif done.returncode == 0:
                return [*prefix, str(python)]
            else:
                told = " ".join(done.stderr.split("\n")[-3:]).strip() or f"exit code {done.returncode}"
        raise DependencyError(
            f"{self._qemu}: cannot run {python} on an emulated {self.cpu.name} ({told}); expected qemu 7.2 or later: "
            "apt-get install qemu-user"
        )


def find_qemu(machine: str) -> str:
    """The path of qemu's user emulator for ``machine``. Raises DependencyError."""
    for name in (f"qemu-{machine}-static", f"qemu-{machine}"):
        if found := shutil.which(name):
            return found
    raise DependencyError(f"emulation needs qemu-{machine}, which is not installed: apt-get install qemu-user")


def needs_sysroot(cpu: Cpu) -> bool:
    """Whether ``cpu`` is of another machine than this one."""
    return cpu.machine != platform.machine()


def _overlay(sysroot: Path, cpu: Cpu, root: Path) -> None:
    """A view of the sysroot with the ``/proc/cpuinfo`` of ``cpu``: before qemu 8.1 they read the host's."""
    for entry in sysroot.resolve().iterdir():
        if entry.name != "proc":
            (root / entry.name).symlink_to(entry)
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(cpu.cpuinfo(), encoding="ascii")
