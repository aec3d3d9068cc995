"""edgekit's own runner in Python: one file, run by the device's Python with the wheels that are installed there."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgekit.benchmarking.executors import Completed, Executor
from edgekit.benchmarking.runners import Prepared, Runner, Trial, Workload
from edgekit.benchmarking.runners.own_output import RUNTIMES, arguments, parse_output
from edgekit.benchmarking.runners.wheels import PACKAGES, device_python, find_wheels
from edgekit.errors import DependencyError
from edgekit.profiles.device import Device

_PROGRAM = Path(__file__).parents[1] / "runner" / "runner.py"


class PythonRunner:
    """The runner; see :class:`edgekit.benchmarking.runners.Runner`."""

    name = "python"
    formats: tuple[str, ...] = ("tflite", "onnx", "mnn")

    def prepare(self, executor: Executor, device: Device, format_name: str) -> Prepared:
        """Send the program. Raises DependencyError when the Python there lacks the runtime or numpy."""
        python = device_python(device)
        wheels = find_wheels(executor, device)
        for name, package in ((format_name, PACKAGES[format_name]), ("numpy", "numpy")):
            if name not in wheels:
                raise DependencyError(f"{device.name}: {python} has no {package}: {python} -m pip install {package}")
        program = executor.push(_PROGRAM, keep=True)
        return PreparedPython(format_name, [python, program], wheels[format_name].version)


class PreparedPython:
    """The program on the device."""

    name = "python"

    def __init__(self, format_name: str, command: list[str], version: str | None) -> None:
        self.runtime = RUNTIMES[format_name]
        self._command = command
        self._version = version

    def command(self, workload: Workload) -> Sequence[str]:
        """The command of one trial."""
        return [*self._command, *arguments(workload)]

    def parse(self, completed: Completed, workload: Workload) -> Trial:
        """What the program found."""
        trial = parse_output(completed, workload, "edgekit's runner.py")
        return replace(trial, runtime_version=trial.runtime_version or self._version)


RUNNER: Runner = PythonRunner()
