import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.benchmarking.executors import Completed
from edgekit.benchmarking.runners import Limits, find_runner
from edgekit.benchmarking.runners.onnxruntime_perf_test import PreparedOnnxRuntimePerfTest, providers_of_nodes
from edgekit.benchmarking.runners.programs import Program, settled_from
from edgekit.errors import DeviceError, GateError, ModelError
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
    with pytest.raises(ModelError, match=r"/data/model: onnxruntime_perf_test refuses it: .*Protobuf parsing failed"):
        prepare().parse(completed("onnxruntime_perf_test_refused", exit_code=255), workload(None))
    with pytest.raises(DeviceError, match="failed with exit code 139: Segmentation fault"):
        prepare().parse(Completed(139, "Segmentation fault", ""), workload(None))


def test_a_fast_model_does_not_fill_the_memory():
    fast = replace(workload(None), limits=Limits(5, 64, 15.0, 15.0, max_runs=1000))
    prepared = PreparedOnnxRuntimePerfTest(Replay(result_file([0.01] * 3)), program("onnxruntime_perf_test"))
    command = prepared.command(fast)
    assert command[command.index("-r") + 1] == "1000"


def result_file(times_ms: Sequence[float]) -> Completed:
    """What it writes when its runs take so long."""
    mean = sum(times_ms) / len(times_ms)
    rows = "".join(f"m,{time / 1000},1,1,{number}\n" for number, time in enumerate(times_ms))
    said = f"Average inference time cost: {mean} ms\nRuns:{len(times_ms)}\nP50 Latency: 0.9 s\nP90 Latency: 0.9 s\n"
    return Completed(0, f"{said}\nedgekit: the result file\n{rows}\nedgekit: the profile\n", "")


def test_runs_before_it_has_settled_are_warm_up():
    cold, warm = [40.0, 35.0, 30.0, 28.0, 25.0], [20.0, 20.1, 20.2, 20.1, 20.0] * 4
    trial = prepare().parse(result_file(cold + warm), workload(None))
    assert trial.times_ms == pytest.approx(warm) and trial.settled is True
    assert (trial.runs, trial.warmup_runs) == (20, 6)
    assert (trial.mean_ms, trial.median_ms, trial.p90_ms) == pytest.approx((20.08, 20.1, 20.2))


def test_runs_that_never_settle_all_count():
    slower = [10.0 * 1.05**number for number in range(40)]
    trial = prepare().parse(result_file(slower), workload(None))
    assert trial.runs == 40 and trial.settled is False
    assert prepare().parse(result_file([20.0] * 6), workload(None)).settled is None, "one window tells nothing"


@given(st.lists(st.floats(0.01, 3000), min_size=1, max_size=60))
def test_settling_leaves_two_windows(times_ms: list[float]):
    first = settled_from(times_ms)
    assert first in (None, 0, len(times_ms)) or sum(times_ms[first:]) >= 100 * (1 - 1e-9)


NODE = '{"cat" : "Node","dur" :471,"name" :"%s_kernel_time","args" : {"op_name" : "Conv","provider" : "%s"}},\n'


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("", "does not say what has run there"),
        (NODE % ("a", "CPUExecutionProvider") + NODE % ("b", "CPUExecutionProvider"), "has run all 2 nodes elsewhere"),
    ],
)
def test_a_provider_that_took_nothing_is_no_measurement(nodes: str, message: str):
    answer = result_file([20.0] * 3)
    prepared = PreparedOnnxRuntimePerfTest(
        Replay(replace(answer, stdout=answer.stdout + nodes)), program("onnxruntime_perf_test")
    )
    with pytest.raises(GateError, match=f"/data/model: expected NnapiExecutionProvider to run it, but .* {message}"):
        prepared.command(workload("NnapiExecutionProvider"))


def test_the_first_process_alone_is_profiled_for_the_provider():
    nodes = NODE % ("a", "CPUExecutionProvider") + 3 * (NODE % ("NNAPI_1", "NnapiExecutionProvider"))
    answer = result_file([20.0] * 3)
    replay = Replay(replace(answer, stdout=answer.stdout + nodes))
    prepared = PreparedOnnxRuntimePerfTest(replay, program("onnxruntime_perf_test"))
    asked = workload("NnapiExecutionProvider")
    command = prepared.command(asked)
    assert "-p" in replay.commands[0] and "-p" not in command
    assert command[command.index("-e") + 1] == "nnapi"
    assert prepared.parse(answer, asked).partitions == 1
    prepared = PreparedOnnxRuntimePerfTest(replay, program("onnxruntime_perf_test"))
    assert "-p" not in prepared.command(workload(None)) and "-p" not in replay.commands[1]


def test_a_real_profile_tells_the_provider_of_every_node(tmp_path: Path):
    import onnx
    import onnxruntime

    nodes = [onnx.helper.make_node("Sin", ["x"], ["y"], "sin"), onnx.helper.make_node("Cos", ["y"], ["z"], "cos")]
    x, z = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [4]) for name in "xz")
    graph = onnx.helper.make_graph(nodes, "g", [x], [z])
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)])
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    session.run(None, {"x": np.zeros(4, np.float32)})
    profile = Path(session.end_profiling()).read_text()
    assert providers_of_nodes(profile) == {"sin": "CPUExecutionProvider", "cos": "CPUExecutionProvider"}


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
    replay.answer = replace(
        replay.answer,
        stdout=replay.answer.stdout + "\nedgekit: the profile\n" + NODE % ("a", "XnnpackExecutionProvider"),
    )
    command = prepared.command(workload("XnnpackExecutionProvider"))
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 3
        arguments, _, results = done.stdout.partition("edgekit: the result file\n")
        assert arguments.split()[:10] == ["-m", "times", "-r", "64", "-x", "2", "-I", "-s", "-e", "xnnpack"]
        assert arguments.split()[10] == "/data/model"
        assert results == "row\n\nedgekit: the profile\n"


def test_it_is_registered():
    assert find_runner("onnxruntime_perf_test").formats == ("onnx",)
