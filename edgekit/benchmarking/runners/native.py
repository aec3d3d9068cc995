"""edgekit's own runner in C: LiteRT and onnxruntime, by the C libraries of their wheels or of the device profile."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgekit.benchmarking.elf import require_abi
from edgekit.benchmarking.executors import Completed, Executor
from edgekit.benchmarking.runner.build import build_runner, host_abi
from edgekit.benchmarking.runners import Prepared, Runner, Trial, Workload
from edgekit.benchmarking.runners.own_output import RUNTIMES, arguments, parse_output
from edgekit.benchmarking.runners.programs import send_program
from edgekit.benchmarking.runners.python import RUNNER as PYTHON
from edgekit.benchmarking.runners.wheels import PACKAGES, device_python, find_wheels
from edgekit.errors import DependencyError, DeviceError, ProfileError
from edgekit.profiles.device import Device
from edgekit.profiles.runner import RunnerProfile

# The C functions of older LiteRT libraries take other parameters.
_OLDEST = {"tflite": (2, 1, 6)}
_LIBRARY_NAMES = {"tflite": "libLiteRt.so", "onnx": "libonnxruntime.so"}


class NativeRunner:
    """The runner; see :class:`edgekit.benchmarking.runners.Runner`.

    MNN and older LiteRT wheels have no C library that it could call: edgekit's runner in Python measures them.
    """

    name = "edgekit"
    formats: tuple[str, ...] = ("tflite", "onnx", "mnn")

    def prepare(self, executor: Executor, device: Device, format_name: str) -> Prepared:
        """Build the program unless the profile names one, and find the runtime's library.

        The library is the profile's (``libraries``), else that of the wheel which the Python there has.
        """
        if format_name not in _LIBRARY_NAMES:
            return PYTHON.prepare(executor, device, format_name)
        profile = device.runners.get(format_name, RunnerProfile(self.name))
        command = _program(executor, device, format_name, profile)
        if profile.libraries:
            return PreparedNative(format_name, command, _send_libraries(executor, device, format_name, profile))
        return _with_wheel(executor, device, format_name, command)


class PreparedNative:
    """The program and the library on the device."""

    name = "edgekit"

    def __init__(self, format_name: str, command: list[str], library: str, version: str | None = None) -> None:
        self.runtime = RUNTIMES[format_name]
        self._command = command
        self._library = library
        self._version = version

    def command(self, workload: Workload) -> Sequence[str]:
        """The command of one trial."""
        return [*self._command, "--library", self._library, *arguments(workload)]

    def parse(self, completed: Completed, workload: Workload) -> Trial:
        """What the program found; the version is the wheel's where the library tells none."""
        trial = parse_output(completed, workload, "edgekit's runner")
        return replace(trial, runtime_version=trial.runtime_version or self._version)


def _program(executor: Executor, device: Device, format_name: str, profile: RunnerProfile) -> list[str]:
    """How the program is started on the device."""
    abis = _abis(executor)
    if profile.path or profile.url or profile.remote:
        for library in (profile.path, *profile.libraries):
            if library is not None and library.is_file():
                require_abi(library, abis, device.name)
        return send_program(executor, device, format_name, "edgekit").command()
    if device.kind == "adb":
        raise ProfileError(
            f"{device.path or device.name}: edgekit's runner is not built for Android; set kind to the runtime's own "
            f'benchmark program in [runners.{format_name}], or "path" to a runner built with the Android NDK'
        )
    abi = device.abi or executor.facts.abi or (host_abi() if device.kind == "local" else None)
    if abi is None:
        raise DeviceError(f'{device.name}: does not tell its ABI; set "abi" in its profile')
    path = build_runner(abi, for_this_machine=device.kind == "local")
    return [executor.push(path, executable=True, keep=True)]


def _abis(executor: Executor) -> tuple[str, ...]:
    return (executor.facts.abi,) if executor.facts.abi else ()


def _send_libraries(executor: Executor, device: Device, format_name: str, profile: RunnerProfile) -> str:
    """The path on the device of the runtime's library among those of the profile."""
    where = f"{device.path or device.name}: [runners.{format_name}]"
    wanted = _LIBRARY_NAMES[format_name]
    sent: dict[Path, str] = {}
    for path in profile.libraries:
        if not path.is_file():
            raise ProfileError(f'{where} "libraries": no file {path}')
        require_abi(path, _abis(executor), device.name)
        sent[path] = executor.push(path, keep=True)
    for path, remote in sent.items():
        if path.name.startswith(wanted) or len(sent) == 1:
            return remote
    raise ProfileError(f'{where} "libraries" has no {wanted}; expected the runtime\'s library among them')


def _with_wheel(executor: Executor, device: Device, format_name: str, command: list[str]) -> Prepared:
    """With the library of the wheel there; a wheel without one that can be used is run from Python."""
    package, python = PACKAGES[format_name], device_python(device)
    wheel = find_wheels(executor, device).get(format_name)
    if wheel is None:
        raise DependencyError(
            f"{device.name}: {python} has no {package}: {python} -m pip install {package}, or set "
            f'"libraries" in [runners.{format_name}] of the device profile to its {_LIBRARY_NAMES[format_name]}'
        )
    if wheel.library is None or _is_older(wheel.version, _OLDEST.get(format_name, ())):
        return PYTHON.prepare(executor, device, format_name)
    return PreparedNative(format_name, command, wheel.library, wheel.version)


def _is_older(version: str | None, oldest: tuple[int, ...]) -> bool:
    numbers = re.match(r"\d+(\.\d+)*", version or "")
    return numbers is not None and tuple(int(number) for number in numbers.group().split(".")) < oldest


RUNNER: Runner = NativeRunner()
