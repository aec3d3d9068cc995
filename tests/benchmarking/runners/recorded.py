"""What benchmark programs wrote, in the forms that their sources print."""

from dataclasses import replace
from pathlib import Path

from edgekit.benchmarking.executors import Completed
from edgekit.benchmarking.runners import Limits, Workload
from edgekit.benchmarking.runners.programs import Program

FOLDER = Path(__file__).resolve().parents[1] / "recorded"

WORKLOAD = Workload("tflite", "/data/model", threads=2, limits=Limits(5, 64, 0.25, 3.75), delegate="xnnpack")


def completed(name: str, exit_code: int = 0) -> Completed:
    """The recorded output ``name``."""
    return Completed(exit_code, (FOLDER / f"{name}.txt").read_text(), "")


def program(name: str) -> Program:
    return Program(name, f"/data/{name}")


def workload(delegate: str | None = "xnnpack", *, profile: bool = False) -> Workload:
    return replace(WORKLOAD, delegate=delegate, profile=profile)
