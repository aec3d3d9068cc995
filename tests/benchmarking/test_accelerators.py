"""What artifacts run on: what was asked for or promised, or an error, or a note; never silently the CPU."""

import logging

import pytest

from edgekit.benchmarking.accelerators import _OF_FLAGS, _OF_RUNNERS, applies, choose_accelerator
from edgekit.benchmarking.runners import RUNNERS, find_runner
from edgekit.benchmarking.runners.benchmark_model import _DELEGATE_FLAGS
from edgekit.benchmarking.runners.mnnv2basic import _FORWARD
from edgekit.benchmarking.runners.onnxruntime_perf_test import _PROVIDERS
from edgekit.benchmarking.settings import DELEGATES
from edgekit.benchmarking.subjects import Artifact
from edgekit.errors import ProfileError, UsageError
from edgekit.profiles.device import Device
from edgekit.profiles.target import Target, load_target
from tests.benchmarking.fakes import artifact

PHONE = Device("pixel", None, "a phone", "adb", serial="x")
ANDROID = {"tflite": "benchmark_model", "mnn": "MNNV2Basic", "onnx": "onnxruntime_perf_test"}


def choose(
    format_name: str,
    runner: str | None = None,
    *,
    target: str | None = None,
    exported: str | None = None,
    asked: str | None = None,
) -> str | None:
    chosen = artifact(f"net.{format_name}", target=exported)
    return choose_accelerator(chosen, runner or ANDROID[format_name], PHONE, _load(target), asked)


def _load(name: str | None) -> Target | None:
    return None if name is None else load_target(name)


@pytest.mark.parametrize(
    ("format_name", "accelerator"),
    [("tflite", "gpu"), ("mnn", "OPENCL"), ("onnx", "NnapiExecutionProvider")],
)
def test_what_the_target_has_is_measured(format_name: str, accelerator: str) -> None:
    assert choose(format_name, target="android-gpu") == accelerator
    assert choose(format_name, exported="android-gpu") == accelerator
    assert choose(format_name, exported="android-gpu", target="android-arm64") in ("xnnpack", None)


@pytest.mark.parametrize(
    ("format_name", "asked", "accelerator"),
    [
        ("tflite", "gpu", "gpu"),
        ("mnn", "gpu", "OPENCL"),
        ("mnn", "nnapi", "NN"),
        ("onnx", "nnapi", "NnapiExecutionProvider"),
        ("onnx", "xnnpack", "XnnpackExecutionProvider"),
        ("tflite", "none", "none"),
        ("mnn", "none", None),
        ("onnx", "none", None),
        ("tflite", None, "xnnpack"),
        ("mnn", None, None),
        ("onnx", None, None),
    ],
)
def test_what_was_asked_for_is_measured(format_name: str, asked: str | None, accelerator: str | None) -> None:
    assert choose(format_name, asked=asked) == accelerator
    assert choose(format_name, asked=asked or "none", target="android-gpu") == (
        accelerator if asked else {"tflite": "none"}.get(format_name)
    )


@pytest.mark.parametrize("runner", ["edgekit", "python"])
@pytest.mark.parametrize("format_name", ["tflite", "mnn", "onnx"])
def test_edgekits_own_runners_have_the_cpu_only(runner: str, format_name: str) -> None:
    for asked in ("gpu", "nnapi"):
        with pytest.raises(UsageError, match=rf"--delegate {asked}: {runner} on pixel has .*none only for net"):
            choose(format_name, runner, asked=asked)
    with pytest.raises(ProfileError, match=rf"android-gpu runs it on .*, but {runner} on pixel has"):
        choose(format_name, runner, target="android-gpu")


def test_onnxruntime_has_no_gpu_by_that_name() -> None:
    with pytest.raises(UsageError, match=r"--delegate gpu: onnxruntime_perf_test on pixel has .*nnapi.* only for net"):
        choose("onnx", asked="gpu")


def test_an_export_for_a_phone_is_measured_here_and_that_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    assert choose("mnn", "python", exported="android-gpu") is None
    assert "net.mnn: its target android-gpu runs it on OPENCL; python measures it on the CPU" in caplog.text


def test_xnnpack_is_noted_where_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert choose("mnn", "python", asked="xnnpack") is None
    assert "net.mnn: --delegate xnnpack does not apply to it" in caplog.text
    assert not applies(artifact("net.mnn"), "python", "xnnpack") and applies(artifact("a.tflite"), "python", "xnnpack")


def test_every_runner_says_what_it_has() -> None:
    assert set(_OF_RUNNERS) == set(RUNNERS)
    for name, supported in _OF_RUNNERS.items():
        assert set(supported) == set(find_runner(name).formats)
    assert all(set(flags) <= set(DELEGATES) for flags in _OF_FLAGS.values())
    assert set(_OF_RUNNERS["benchmark_model"]["tflite"]) == set(_DELEGATE_FLAGS) - {None}
    assert set(_OF_RUNNERS["MNNV2Basic"]["mnn"]) - {"CPU"} == set(_FORWARD) - {None}
    assert set(_OF_RUNNERS["onnxruntime_perf_test"]["onnx"]) - {"CPUExecutionProvider"} == set(_PROVIDERS) - {None}


def test_a_file_without_an_export_runs_on_the_default() -> None:
    alone = Artifact(artifact().path, "tflite", "0" * 64, 1)
    assert choose_accelerator(alone, "python", PHONE, None, None) == "xnnpack"
