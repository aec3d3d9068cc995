import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.benchmarking.executors import Completed
from edgekit.benchmarking.runners import Limits, OpTime, Workload
from edgekit.benchmarking.runners.own_output import arguments, parse_output
from edgekit.errors import DeviceError, ModelError

LIMITS = Limits(0.5, 64, 0.25, 3.75)
WORKLOAD = Workload("tflite", "/models/a=b.tflite", 2, LIMITS, "xnnpack", profile=True)
DOCUMENT = {
    "edgekit_runner": 1,
    "runtime": "litert",
    "runtime_version": "2.3.0",
    "load_us": 2500,
    "first_us": 1500.5,
    "warmup_runs": 12,
    "settled": True,
    "times_ns": [1_000_000, 3_000_000],
    "peak_memory_kb": 2048,
    "accelerated_ops": 3,
    "total_ops": 4,
    "partitions": 1,
    "profile": [{"op": "CONV_2D", "node": "stem", "mean_us": 12.5, "accelerated": True}],
}
LOADING, RUNNING = "edgekit-runner: stage: loading\n", "edgekit-runner: stage: running\n"


def test_the_command_line():
    assert arguments(WORKLOAD) == [
        *("--runtime", "litert", "--model", "/models/a=b.tflite", "--threads", "2"),
        *("--warmup-s", "0.5", "--min-runs", "64", "--min-s", "0.25", "--max-s", "3.75"),
        *("--max-runs", "200000"),
        *("--delegate", "xnnpack", "--profile"),
    ]


def test_mnn_is_told_to_calculate_in_int8():
    workload = Workload("mnn", "m.mnn", 1, LIMITS, precision="int8-dynamic")
    assert arguments(workload)[-2:] == ["--memory", "low"]
    assert "--memory" not in arguments(replace(workload, precision="int8-weights"))
    assert "--memory" not in arguments(replace(workload, format="onnx"))


def test_reads_the_last_line():
    trial = parse_output(Completed(0, f"noise\n{json.dumps(DOCUMENT)}\n", "INFO: more"), WORKLOAD, "it")
    assert (trial.runs, trial.mean_ms, trial.times_ms) == (2, 2.0, (1.0, 3.0))
    assert (trial.load_ms, trial.first_ms, trial.warmup_runs, trial.settled) == (2.5, 1.5005, 12, True)
    assert (trial.peak_memory_bytes, trial.runtime_version) == (2 << 20, "2.3.0")
    assert (trial.accelerated_ops, trial.total_ops, trial.partitions) == (3, 4, 1)
    assert trial.profile == (OpTime("CONV_2D", "stem", 0.0125, True),)


def test_what_is_not_known_is_none():
    unknown = DOCUMENT | dict.fromkeys(("peak_memory_kb", "accelerated_ops", "runtime_version"))
    trial = parse_output(Completed(0, json.dumps(unknown), ""), WORKLOAD, "it")
    assert trial.peak_memory_bytes is trial.accelerated_ops is trial.runtime_version is None


@pytest.mark.parametrize(
    ("code", "stderr", "kind", "words"),
    [
        (4, "INFO: x\nedgekit-runner: LiteRT: no\n", ModelError, "^mine.tflite: LiteRT: no; expected a file .*again$"),
        (
            4,
            "edgekit-runner: LiteRT: /models/a=b.tflite: no",
            ModelError,
            "^mine.tflite: LiteRT: the file: no; expected",
        ),
        (4, 'edgekit-runner: input "x" is dynamic: fix it', ModelError, '^mine.tflite: input "x" is dynamic: fix it$'),
        (5, LOADING + RUNNING + "edgekit-runner: LiteRT: no", ModelError, "^mine.tflite: LiteRT: no; expected a file"),
        (-11, LOADING, ModelError, "^mine.tflite: litert crashes with SIGSEGV while loading it; expected .* again$"),
        (139, LOADING + RUNNING, ModelError, "SIGSEGV while running it; expected"),
        (134, f"{LOADING}INFO: x\nCheck failed: y", ModelError, "SIGABRT while loading it: Check failed: y; expected"),
        (-4, LOADING, DeviceError, "crashed with SIGILL on mine.tflite: it wrote nothing"),
        (-9, LOADING + RUNNING, DeviceError, "was killed .* on mine.tflite"),
        (3, "edgekit-runner: /lib: not there", DeviceError, "failed with exit code 3 on mine.tflite: /lib: not there"),
        (-11, "", DeviceError, "crashed with SIGSEGV on .*: it wrote nothing"),
        (139, "", DeviceError, "crashed with SIGSEGV"),
        (137, "", DeviceError, "SIGKILL, as when the memory"),
        (127, "env: no such file", DeviceError, "exit code 127 .*no such file"),
    ],
)
def test_failures(code, stderr, kind, words):
    with pytest.raises(kind, match=words) as caught:
        parse_output(Completed(code, "", stderr), replace(WORKLOAD, label="mine.tflite"), "it")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changed", [{"edgekit_runner": 2}, {"times_ns": []}, {"times_ns": None}, {"load_us": "soon"}, {"profile": [{}]}]
)
def test_another_document(changed):
    with pytest.raises(DeviceError, match="not understood"):
        parse_output(Completed(0, json.dumps(DOCUMENT | changed), ""), WORKLOAD, "it")


@given(st.text())
def test_garbage(text):
    with pytest.raises(DeviceError, match="not understood"):
        parse_output(Completed(0, text, ""), WORKLOAD, "it")
