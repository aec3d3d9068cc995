"""The program as it is built for a board, with the board's libraries, on an emulated board."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from edgekit.benchmarking.runner.build import build_runner
from edgekit.emulation import sysroot as sysroots
from edgekit.emulation.cpu import CPUS
from edgekit.emulation.emulator import find_qemu
from edgekit.errors import DependencyError
from tests.benchmarking.runner.conftest import FEEDS
from tests.benchmarking.runner.programs import expected, run


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of an arm64 board, if some earlier test or command has made them."""
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed")
    made = sysroots._cache_folder() / sysroots._key("aarch64")
    if not made.is_dir():
        pytest.skip("no arm64 sysroot is cached; edgekit verify --emulate builds one")
    root = tmp_path_factory.mktemp("board")
    for entry in made.iterdir():
        if entry.name != "proc":
            (root / entry.name).symlink_to(entry)
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(CPUS["cortex-a76"].cpuinfo())
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format_name", "pattern"),
    [("tflite", "ai_edge_litert/libLiteRt.so"), ("onnx", "onnxruntime/capi/libonnxruntime.so.*")],
)
def test_runs_on_an_emulated_board(format_name, pattern, board, models, tmp_path):
    try:
        qemu = find_qemu("aarch64")
    except DependencyError as error:
        pytest.skip(str(error))
    library = next(board.glob(f"usr/lib/python3/dist-packages/{pattern}"))
    program = [qemu, "-cpu", "cortex-a76", "-L", str(board), str(build_runner("arm64-v8a", for_this_machine=False))]
    ended = run(program, models[format_name], tmp_path, "--profile", feeds=FEEDS, library=str(library))
    assert ended.exit_code == 0, ended.stderr
    assert len(ended.result["times_ns"]) == 3
    assert ended.result["profile"]
    for found, array in zip(ended.outputs, expected(models[format_name], FEEDS).values(), strict=True):
        np.testing.assert_allclose(np.frombuffer(found, np.float32), array.ravel(), rtol=1e-4, atol=1e-5)
