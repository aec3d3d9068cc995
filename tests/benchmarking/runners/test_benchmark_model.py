from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.benchmarking.executors import Completed
from edgekit.benchmarking.runners import OpTime, find_runner
from edgekit.benchmarking.runners.benchmark_model import PreparedBenchmarkModel
from edgekit.benchmarking.runners.delegation import DelegatedOps, parse_delegation
from edgekit.benchmarking.runners.programs import Program
from edgekit.errors import DeviceError, ModelError
from tests.benchmarking.runners.recorded import completed, program, workload

PREPARED = PreparedBenchmarkModel(program("benchmark_model"))


def parse(name: str, delegate: str | None = "xnnpack", *, profile: bool = False):
    return PREPARED.parse(completed(name), workload(delegate, profile=profile))


def test_the_command_has_the_limits_and_the_delegate():
    command = PreparedBenchmarkModel(program("benchmark_model")).command(workload("nnapi", profile=True))
    assert command[0] == "/data/benchmark_model"
    assert set(command[1:]) == {
        "--graph=/data/model",
        "--num_threads=2",
        "--warmup_runs=1",
        "--warmup_min_secs=5",
        "--num_runs=64",
        "--min_secs=0.25",
        "--max_secs=3.75",
        "--report_peak_memory_footprint=true",
        "--use_nnapi=true",
        "--disable_nnapi_cpu=true",
        "--enable_op_profiling=true",
    }


def test_only_the_first_trial_of_an_artifact_asks_for_its_memory():
    prepared, flag = PreparedBenchmarkModel(program("benchmark_model")), "--report_peak_memory_footprint=true"
    assert flag in prepared.command(workload())
    first = prepared.parse(completed("benchmark_model_xnnpack_2_16"), workload())
    assert flag not in prepared.command(workload())
    assert flag in prepared.command(replace(workload(), model="/data/other"))
    silent = completed("benchmark_model_xnnpack_2_16").stdout.replace("peak memory", "")
    assert prepared.parse(Completed(0, silent, ""), workload()).peak_memory_bytes == first.peak_memory_bytes


@pytest.mark.parametrize(
    ("delegate", "flag"),
    [("xnnpack", "--use_xnnpack=true"), ("none", "--use_xnnpack=false"), ("gpu", "--use_gpu=true"), (None, None)],
)
def test_each_delegate_has_its_flag(delegate: str | None, flag: str | None):
    flags = [word for word in PREPARED.command(workload(delegate)) if word.startswith("--use_")]
    assert flags == ([] if flag is None else [flag])


def test_libraries_are_found_through_the_environment():
    prepared = PreparedBenchmarkModel(Program("benchmark_model", "/p", ("/a", "/b")))
    assert prepared.command(workload())[:3] == ["env", "LD_LIBRARY_PATH=/a:/b", "/p"]


def test_the_first_line_of_statistics_is_the_warm_up():
    trial = parse("benchmark_model_xnnpack_2_16")
    assert (trial.runs, trial.warmup_runs) == (64, 489)
    assert (trial.mean_ms, trial.std_ms, trial.median_ms, trial.p90_ms) == (7.45497, 0.256, None, None)
    assert (trial.load_ms, trial.first_ms, trial.peak_memory_bytes) == (16.772, 8.781, round(22.5 * 2**20))
    assert (trial.accelerated_ops, trial.total_ops, trial.partitions) == (66, 66, 1)
    assert trial.times_ms == () and trial.settled is None


def test_a_graph_that_is_completely_executed_is_one_part():
    text = (
        "INFO: Explicitly applied XNNPACK delegate, and the model graph will be completely executed by the delegate.\n"
    )
    assert parse_delegation(text, "xnnpack") == DelegatedOps(None, None, 1)
    assert parse_delegation(text, "gpu") == DelegatedOps()


def test_the_delegate_that_was_asked_for_counts_alone():
    gpu, xnnpack = parse("benchmark_model_gpu_partial", "gpu"), parse("benchmark_model_gpu_partial")
    assert (gpu.accelerated_ops, gpu.total_ops, gpu.partitions) == (54, 559, 3)
    assert (xnnpack.accelerated_ops, xnnpack.total_ops, xnnpack.partitions) == (456, 559, 17)
    assert (gpu.median_ms, gpu.mean_ms, gpu.runtime_version) == (307.968, 309.35, "2.19.0")


def test_a_delegate_that_gave_up_took_nothing():
    trial = parse("benchmark_model_nnapi_not_applied", "nnapi")
    assert (trial.accelerated_ops, trial.total_ops) == (0, 31)
    assert (trial.warmup_runs, trial.first_ms, trial.runs) == (1, 637.079, 520)


def test_without_a_delegate_only_the_number_of_operations_is_known():
    trial = parse("benchmark_model_nnapi_not_applied", "none")
    assert (trial.accelerated_ops, trial.total_ops) == (None, 31)


def test_slow_models_are_printed_in_scientific_notation():
    trial = parse("benchmark_model_slow")
    assert (trial.runs, trial.mean_ms, trial.std_ms) == (3, 1248.19, 10.4)
    assert (trial.first_ms, trial.load_ms) == (10013.451, 135723.0)
    assert (trial.accelerated_ops, trial.total_ops, trial.partitions) == (15, 317, 7)  # two subgraphs


def test_runs_that_are_all_alike_have_that_median():
    trial = parse("benchmark_model_all_same")
    assert (trial.runs, trial.mean_ms, trial.median_ms, trial.std_ms) == (50, 0.003, 0.003, 0.0)


def test_versions_of_2019_and_2018_are_understood():
    trial = parse("benchmark_model_2_0", "nnapi")
    assert (trial.runs, trial.mean_ms, trial.load_ms, trial.first_ms) == (119, 8.45969, 25.558, None)
    assert (trial.accelerated_ops, trial.total_ops, trial.partitions) == (31, None, 1)
    trial = parse("benchmark_model_1_9", "none")
    assert (trial.runs, trial.mean_ms, trial.warmup_runs, trial.accelerated_ops) == (50, 93.1874, 1, None)


def test_delegates_that_only_tell_their_kernels():
    text = (
        "INFO: Explicitly applied GPU delegate, and the model graph will be partially executed by the delegate "
        "w/ 3 delegate kernels.\n"
    )
    assert parse_delegation(text, "gpu") == DelegatedOps(partitions=3)
    assert parse_delegation(text, "xnnpack") == DelegatedOps()


def test_the_same_delegate_in_unnamed_subgraphs_is_summed_up():
    line = "Replacing {} out of {} node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions.\n"
    assert parse_delegation(line.format(8, 10) + line.format(3, 4), "xnnpack") == DelegatedOps(11, 14, 2)


def test_a_delegate_that_is_applied_again_counts_once():
    line = "Replacing 8 out of 10 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 3 partitions{}.\n"
    for where in ("", " for the whole graph", " for subgraph 0"):
        assert parse_delegation(line.format(where) * 2, "xnnpack") == DelegatedOps(8, 10, 3)


def test_a_profile_lists_the_operations_inside_the_delegate():
    ops = parse("benchmark_model_profile", profile=True).profile
    assert ops[0] == OpTime("QUANTIZE", "tfl.quantize", 0.203, accelerated=False)
    assert ops[1] == OpTime("Convolution (NHWC, QU8) IGEMM", "Convolution (NHWC, QU8) IGEMM:0", 0.278, accelerated=True)
    assert ops[2].mean_ms == pytest.approx(0.051 * 13)  # called 13 times in one inference
    assert [op.op for op in ops[3:]] == ["Add (ND, QU8)", "TFLite_Detection_PostProcess"]
    assert ops[4].node == "StatefulPartitionedCall:3, StatefulPartitionedCall:2"


def test_a_profile_is_that_of_the_runs_even_when_a_delegate_tells_nothing():
    ops = parse("benchmark_model_profile_nnapi", "nnapi", profile=True).profile
    assert [(op.op, op.mean_ms, op.accelerated) for op in ops] == [
        ("TfLiteNnapiDelegate", 11.422, True),
        ("AVERAGE_POOL_2D", 0.080, False),
        ("RESIZE_BILINEAR", 0.731, False),
        ("ARG_MAX", 15.326, False),
    ]


def test_a_delegate_with_a_section_of_its_own_is_replaced_by_it():
    ops = parse("benchmark_model_profile_internal", profile=True).profile
    assert [(op.op, op.mean_ms, op.accelerated) for op in ops] == [
        ("SOFTMAX", 0.02, False),
        ("Convolution (NHWC, QC8) IGEMM", 1.25, True),
        ("Fully Connected (NC, QC8) GEMM", 0.75, True),
    ]


def test_a_profile_as_csv():
    ops = parse("benchmark_model_profile_csv", profile=True).profile
    assert [(op.op, op.mean_ms) for op in ops] == [
        ("Convolution (NHWC, F32) IGEMM", 0.1999),
        ("HardSwish (NC)", 0.0656),
        ("SOFTMAX", 5e-05),
    ]


def test_no_profile_unless_asked_for():
    assert parse("benchmark_model_profile").profile == ()


def test_statistics_of_the_profile_are_not_those_of_the_runs():
    assert parse("benchmark_model_profile").mean_ms == 7.45497


def test_a_failure_is_told_by_its_first_complaint():
    with pytest.raises(
        ModelError, match=r"/data/model: benchmark_model refuses it: ERROR: Model provided has model ide"
    ):
        PREPARED.parse(completed("benchmark_model_refused", exit_code=1), workload())
    unreadable = "ERROR: Could not open '/data/model'.\nERROR: Failed to mmap model /data/model\n"
    with pytest.raises(DeviceError, match="exit code 1: ERROR: Could not open"):
        PREPARED.parse(Completed(1, unreadable, ""), workload())


@pytest.mark.parametrize("text", ["", "Segmentation fault", "count=0", "count=50 avg=nan", "count=7", "\0\xff" * 99])
def test_what_is_not_understood_is_an_error(text: str):
    with pytest.raises(DeviceError, match="said nothing of any time"):
        PREPARED.parse(Completed(0, text, ""), workload())


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda data: data.decode("utf-8", "replace")))
def test_garbage_is_never_a_trial_by_accident_and_never_a_crash(text: str):
    with pytest.raises(DeviceError):
        PREPARED.parse(Completed(0, text.replace("count", ""), ""), workload(profile=True))


@given(
    count=st.integers(2, 10**6),
    mean=st.floats(1, 1e9),
    taken=st.integers(0, 999),
    total=st.integers(0, 999),
)
def test_what_is_printed_is_what_is_parsed(count: int, mean: float, taken: int, total: int):
    text = (
        f"VERBOSE: Replacing {taken} out of {total} node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 2 "
        f"partitions for subgraph 0.\nINFO: count=1 curr=5\n\n"
        f"INFO: count={count} first=1 curr=1 min=1 max=9 avg={mean:g} std=3\n"
    )
    trial = PREPARED.parse(Completed(0, "", text), workload())
    assert (trial.runs, trial.accelerated_ops, trial.total_ops) == (count, taken, total)
    assert trial.mean_ms == pytest.approx(mean / 1000, rel=1e-5)


def test_it_is_registered():
    assert find_runner("benchmark_model").formats == ("tflite",)
