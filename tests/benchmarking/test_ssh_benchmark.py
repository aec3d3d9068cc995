"""Artifacts measured on a board over ssh: the programs of edgekit, sent and started through a real sshd on loopback."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit.benchmarking.executors import Executor, open_executor
from edgekit.benchmarking.results import Report
from edgekit.benchmarking.runner.build import can_build
from edgekit.benchmarking.runners import Limits, Workload, find_runner
from edgekit.errors import DependencyError, DeviceError
from edgekit.profiles.device import Device
from edgekit.runtimes import find_runtime
from tests import toy
from tests.benchmarking.sshd import Server
from tests.test_cli import edgekit as edgekit_command
from tests.test_cli import error_of

BOARD = Device("bench", None, "a board", "ssh", host="board", python=sys.executable, cool_down_s=0)
LIMITS = Limits(warmup_s=0.1, min_runs=5, min_s=0.01, max_s=1.0)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    (tmp_path / "sshd").mkdir()
    server = Server(tmp_path / "sshd")
    server.start()
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.config))
    yield server
    server.close()


@pytest.fixture
def board(server: Server) -> Iterator[Executor]:
    with open_executor(BOARD) as executor:
        yield executor


@pytest.fixture(scope="module")
def artifacts(classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an export in all formats."""
    out = tmp_path_factory.mktemp("dist")
    edgekit.export(classifier, ["x86-64"], precision="fp32", out=out)
    return out


@pytest.mark.parametrize(("format_name", "runner"), [("tflite", "edgekit"), ("onnx", "edgekit"), ("mnn", "python")])
def test_what_runs_on_the_board_is_what_runs_here(
    board: Executor, artifacts: Path, tmp_path: Path, format_name: str, runner: str
) -> None:
    if runner == "edgekit" and not can_build(board.facts.abi, for_this_machine=False):
        pytest.skip("needs a C compiler for boards: ziglang")
    path = artifacts / "x86-64" / f"toy.{format_name}"
    prepared = find_runner(runner).prepare(board, BOARD, format_name)
    workload = Workload(format_name, board.push(path), threads=1, limits=LIMITS)
    image = toy.images(1, seed=3)[0].astype(np.float32)
    (tmp_path / "image.bin").write_bytes(image.tobytes())
    feed = ["--input", f"image={board.push(tmp_path / 'image.bin')}", "--output-folder", "out"]
    completed = board.run([*prepared.command(workload), *feed], timeout=60)
    trial = prepared.parse(completed, workload)
    assert trial.runs >= 5 and len(trial.times_ms) == trial.runs
    assert (trial.load_ms or 0) > 0 and (trial.peak_memory_bytes or 0) > 1 << 20
    board.pull("out/0.bin", tmp_path / "scores.bin")
    session = find_runtime(format_name).load(path, threads=1)
    (expected,) = session.run({"image": image}).values()
    session.close()
    scores = np.frombuffer((tmp_path / "scores.bin").read_bytes(), np.float32)
    np.testing.assert_allclose(scores, expected.ravel(), rtol=1e-5, atol=1e-6)


def test_a_python_without_the_runtime_says_what_to_install(server: Server, tmp_path: Path) -> None:
    bare = tmp_path / "python3"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    device = replace(BOARD, python=str(bare))
    with open_executor(device) as board, pytest.raises(DependencyError) as caught:
        find_runner("python").prepare(board, device, "onnx")
    assert f"bench: {bare} has no onnxruntime: {bare} -m pip install onnxruntime" in str(caught.value)


def test_a_board_without_python_says_so(server: Server) -> None:
    device = replace(BOARD, python="/opt/no/python3")
    with open_executor(device) as board, pytest.raises(DeviceError, match='set "python" in the device profile'):
        find_runner("python").prepare(board, device, "mnn")


def test_what_was_measured_when_the_board_vanishes_is_kept(
    server: Server, artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is cut when the first figures are there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices/bench.toml").write_text(
        f'description = "a board"\nkind = "ssh"\nhost = "board"\npython = "{sys.executable}"\ncool_down_s = 0\n'
    )
    seen: list[Report] = []

    def journal(report: Report) -> None:
        if report.results and not seen:
            server.drop_connections()
        seen.append(report)

    with pytest.raises(DeviceError, match=r"bench \(board\): the connection was lost"):
        edgekit.benchmark(
            artifacts, device="bench", runtime="onnxruntime", quick=True, journal=journal, history=False, out="now.json"
        )
    assert seen[-1].results and not seen[-1].complete
    kept = json.loads(Path("now.json").read_text())
    assert kept["complete"] is False and kept["device"]["kind"] == "ssh"
    assert kept["results"][0]["runtime"] == "onnxruntime" and kept["results"][0]["runs"] > 0


@pytest.mark.slow
def test_the_command_measures_over_ssh(server: Server, artifacts: Path, tmp_path: Path) -> None:
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices/bench.toml").write_text(
        f'description = "a board"\nkind = "ssh"\nhost = "board"\npython = "{sys.executable}"\ncool_down_s = 0\n'
    )
    options = ("--device", "bench", "--duration", "0.5", "--quick", "--no-history", "--json")
    result = edgekit_command("benchmark", artifacts, *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["complete"] is True and document["device"]["name"] == "bench"
    assert [entry["runtime"] for entry in document["results"]] == ["litert", "mnn", "onnxruntime"]
    assert all(entry["median_ms"] > 0 and entry["rounds"] >= 8 for entry in document["results"])
    assert list((server.home / "cache/edgekit").glob("session.*")) == []
    server.stop()
    assert "refuses the connection" in error_of(edgekit_command("benchmark", artifacts, *options[:-1], cwd=tmp_path), 6)
