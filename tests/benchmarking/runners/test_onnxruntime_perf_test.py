import subprocess
from pathlib import Path

import pytest

from edgekit.benchmarking.executors import Completed
from edgekit.benchmarking.runners import find_runner
from edgekit.benchmarking.runners.onnxruntime_perf_test import PreparedOnnxRuntimePerfTest
from edgekit.benchmarking.runners.programs import Program
from edgekit.errors import DeviceError
from tests.benchmarking.runners.recorded import completed, program, workload
from tests.benchmarking.runners.test_mnnv2basic import Replay


def prepare(recorded: str = "onnxruntime_perf_test_1_20") -> PreparedOnnxRuntimePerfTest:
    return PreparedOnnxRuntimePerfTest(Replay(completed(recorded)), program("onnxruntime_perf_test"))


@pytest.mark.parametrize("version", ["1_20", "1_0"])
def test_every_run_is_in_the_result_file(version: str):
    trial = prepare().parse(completed(f"onnxruntime_perf_test_{version}"), workload(None))
    assert trial.times_ms == pytest.approx((19.9041, 20.0251, 19.7812, 19.942, 19.9047))
    assert (trial.runs, trial.mean_ms, trial.warmup_runs) == (5, 19.9114, 1)
    assert (trial.median_ms, trial.p90_ms, trial.p99_ms) == pytest.approx((19.9047, 20.0251, 20.0251))


def test_what_only_newer_versions_tell():
    new = prepare().parse(completed("onnxruntime_perf_test_1_20"), workload(None))
    assert (new.load_ms, new.first_ms, new.peak_memory_bytes) == (50.8382, 21.0, 109531136)
    old = prepare().parse(completed("onnxruntime_perf_test_1_0"), workload(None))
    assert (old.load_ms, old.first_ms, old.peak_memory_bytes) == (None, None, None)


def test_without_a_result_file_the_aggregates_count():
    trial = prepare().parse(completed("onnxruntime_perf_test_no_file"), workload(None))
    assert trial.times_ms == ()
    assert (trial.runs, trial.mean_ms) == (100, 62.2935)
    assert (trial.median_ms, trial.p99_ms) == pytest.approx((60.3562, 91.2857))


def test_a_failure_has_the_programs_words():
    with pytest.raises(DeviceError, match="Protobuf parsing failed"):
        prepare().parse(completed("onnxruntime_perf_test_refused", exit_code=255), workload(None))


@pytest.mark.parametrize("text", ["", "garbage", "Average inference time cost: nan ms\nRuns:5"])
def test_what_is_not_understood_is_an_error(text: str):
    with pytest.raises(DeviceError, match="said nothing of any time"):
        prepare().parse(Completed(0, text, ""), workload(None))


def test_the_command_runs_and_prints_the_fresh_result_file(tmp_path: Path):
    """The program appends to its result file, which is its last argument."""
    tool = tmp_path / "perf_test"
    tool.write_text('#!/bin/sh\necho "$*"\nfor last; do :; done\necho "row" >> "$last"\nexit 3\n')
    tool.chmod(0o755)
    replay = Replay(completed("onnxruntime_perf_test_1_20"))
    prepared = PreparedOnnxRuntimePerfTest(replay, Program("onnxruntime_perf_test", str(tool)))
    command = prepared.command(workload("xnnpack"))
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 3
        arguments, _, results = done.stdout.partition("edgekit: the result file\n")
        assert arguments.split()[:10] == ["-m", "times", "-r", "64", "-x", "2", "-I", "-s", "-e", "xnnpack"]
        assert arguments.split()[10] == "/data/model"
        assert results == "row\n"


def test_it_is_registered():
    assert find_runner("onnxruntime_perf_test").formats == ("onnx",)
