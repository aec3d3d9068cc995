"""Both of edgekit's measuring programs, run as a device would run them."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

import edgekit.benchmarking.runner
from edgekit.benchmarking.runner.build import build_runner, can_build, host_abi
from edgekit.runtimes.process import RuntimeProcess

RUNTIMES = {".tflite": "litert", ".onnx": "onnxruntime", ".mnn": "mnn"}
PYTHON = (sys.executable, str(Path(edgekit.benchmarking.runner.__file__).with_name("runner.py")))
FLAGS = {"--threads": "1", "--warmup-s": "0", "--min-runs": "3", "--min-s": "0", "--max-s": "60"}


@dataclass(frozen=True)
class Ended:
    """How a program ended. ``outputs`` are raw."""

    exit_code: int
    result: dict[str, Any] | None
    stderr: str
    outputs: tuple[bytes, ...]


def native() -> tuple[str, ...]:
    if not can_build(host_abi(), for_this_machine=True):
        pytest.skip("no C compiler here")
    return (str(build_runner(host_abi(), for_this_machine=True)),)


def library(model: Path) -> str:
    """The C library of the wheel for this file."""
    import ai_edge_litert
    import onnxruntime

    if model.suffix == ".onnx":
        return str(next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so*")))
    return str(Path(ai_edge_litert.__file__).with_name("libLiteRt.so"))


def run(
    program: Sequence[str],
    model: Path,
    folder: Path,
    *flags: str,
    feeds: Mapping[str, np.ndarray] | None = None,
    stdout: int | IO[str] = subprocess.PIPE,
    **changed: str,
) -> Ended:
    """Run ``program`` on ``model`` in ``folder``; ``min_runs="5"`` changes a flag of FLAGS."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = FLAGS | {f"--{key.replace('_', '-')}": value for key, value in changed.items()}
    command = [*program, "--runtime", RUNTIMES.get(model.suffix, "litert"), "--model", str(model)]
    command += ["--output-folder", "out", *flags]
    command += [word for pair in ({"--library": library(model)} | settings).items() for word in pair]
    for number, (name, array) in enumerate((feeds or {}).items()):
        array.tofile(folder / f"{number}.in")
        command += ["--input", f"{name}={folder / f'{number}.in'}"]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=folder, timeout=300)
    lines = (done.stdout or "").splitlines()
    outputs = sorted((folder / "out").glob("*.bin"), key=lambda path: int(path.stem))
    return Ended(
        done.returncode,
        json.loads(lines[-1]) if lines else None,
        done.stderr,
        tuple(path.read_bytes() for path in outputs),
    )


def expected(model: Path, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What edgekit's own session of the runtime gives."""
    with RuntimeProcess(model.suffix[1:], model) as process:
        return process.run(feeds)
