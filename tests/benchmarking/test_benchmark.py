"""The whole flow on this machine, with the real runtimes; short, so the figures mean little and none is asserted."""

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekit.benchmarking.benchmark import benchmark
from edgekit.benchmarking.report_file import ReportFile
from edgekit.benchmarking.results import Report
from edgekit.benchmarking.runners import Limits
from edgekit.benchmarking.schedule import Schedule
from edgekit.errors import DeviceError, GateError, InputError, ProfileError, UsageError
from edgekit.history.store import History

DEVICE = """
description = "This machine, as the tests want it"
kind = "local"
cool_down_s = 0
"""


@pytest.fixture(autouse=True)
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "history.sqlite3"
    monkeypatch.setenv("EDGEKIT_HISTORY", str(path))
    return path


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """This machine; a quick measurement is two short rounds there, and the probe does not mind who else works here."""
    monkeypatch.setattr("edgekit.benchmarking.probe.MAXIMUM_SLOWDOWN", 1e9)
    monkeypatch.setattr("edgekit.benchmarking.protocol.MAXIMUM_SLOWDOWN", 1e9)
    monkeypatch.setattr("edgekit.benchmarking.probe._DURATION_S", 0.01)
    limits = Limits(warmup_s=0.05, min_runs=2, min_s=0.01, max_s=0.1)
    monkeypatch.setattr(Schedule, "quick", lambda schedule: replace(schedule, rounds=2, limits=limits))
    path = tmp_path / "here.toml"
    path.write_text(DEVICE)
    return str(path)


def short(artifacts: str | Path | Sequence[str | Path], device: str, **keywords: Any) -> Report:
    return benchmark(artifacts, device=device, quick=True, **keywords)


def test_every_format_of_an_export_is_measured(toy_export: Path, device: str, tmp_path: Path, history: Path) -> None:
    journalled: list[Report] = []
    report = short(toy_export, device, out=tmp_path / "out.json", journal=journalled.append)
    assert [(result.runtime, Path(result.path).name) for result in report.results] == [
        ("litert", "toy.tflite"),
        ("mnn", "toy.mnn"),
        ("onnxruntime", "toy.onnx"),
    ]
    for result in report.results:
        assert result.median_ms > 0 and result.rounds == 2 and result.runs >= 2 and result.statistic == "runs"
        assert result.load_ms and result.first_ms and result.runtime_version
        assert result.peak_memory_bytes and result.peak_memory_bytes > 1 << 20
        assert result.accelerated_ops and result.total_ops and result.ratio > 0 and result.ratio_ci is None
    assert report.complete and report.results[0].delegate == "xnnpack" and report.results[2].delegate is None
    assert [len(each.results) for each in journalled] == [1, 2, 3, 3, 3, 3, 3]
    document = json.loads((tmp_path / "out.json").read_text())
    assert document == json.loads(json.dumps(report.to_json()))
    assert History(history).document("last") == document


def test_the_document_has_what_the_contract_names(toy_export: Path, device: str) -> None:
    document = short(toy_export / "x86-64/toy.onnx", device, history=False).to_json()
    assert document["schema"] == 1
    assert {"name", "kind", "model", "soc", "abi", "os"} <= set(document["device"])
    (result,) = document["results"]
    assert {"path", "sha256", "runtime", "delegate", "threads", "runs", "median_ms", "p90_ms", "p99_ms", "cv"} <= set(
        result
    )
    assert {"ratio", "ratio_ci", "load_ms", "first_ms", "peak_memory_bytes", "throttled", "valid"} <= set(result)
    assert {"governor", "frequency_mhz", "temperature_c", "thermal_status"} <= set(result["state"])


def test_the_artifact_to_compare_with_is_the_first(toy_export: Path, device: str, tmp_path: Path) -> None:
    old = shutil.copytree(toy_export, tmp_path / "old")
    report = short(toy_export / "x86-64/toy.tflite", device, compare=old)
    assert [result.path for result in report.results] == [
        str(old / "x86-64/toy.tflite"),
        str(toy_export / "x86-64/toy.tflite"),
    ]
    assert report.results[0].ratio == 1.0


def test_threads_runtime_and_delegate_are_what_was_asked_for(toy_export: Path, device: str) -> None:
    report = short(toy_export, device, runtime="litert", delegate="none", threads=2)
    (result,) = report.results
    assert (result.runtime, result.delegate, result.threads) == ("litert", "none", 2)
    assert result.accelerated_ops in (0, None)
    assert report.settings["delegate"] == "none" and report.settings["threads"] == 2


def test_a_profile_times_operations_beside_the_figures(toy_export: Path, device: str) -> None:
    (result,) = short(toy_export / "x86-64/toy.onnx", device, profile=True).results
    assert {operation.node for operation in result.profile} >= {"stem", "down"}
    assert all(operation.mean_ms >= 0 for operation in result.profile)


def test_a_broken_promise_keeps_what_was_measured(toy_export: Path, device: str, tmp_path: Path, history: Path) -> None:
    dist = shutil.copytree(toy_export, tmp_path / "dist")
    path = dist / "manifest.json"
    document = json.loads(path.read_text())
    for artifact in document["artifacts"]:
        artifact["delegation"]["accelerated_ops"] += 1
    path.write_text(json.dumps(document))
    with pytest.raises(GateError, match=r"toy\.mnn: mnn accelerates .* as x86-64 promises"):
        short([toy_export / "x86-64/toy.tflite", dist / "x86-64/toy.mnn"], device)
    kept = History(history).document("last")
    assert [result["rounds"] for result in kept["results"]] == [1, 1] and kept["complete"] is False


def test_a_file_that_no_runtime_takes_is_one_line(device: str, tmp_path: Path, history: Path) -> None:
    for name in ("bad.tflite", "bad.onnx", "bad.mnn"):
        (tmp_path / name).write_bytes(b"this is no model at all" * 100)
        with pytest.raises((InputError, DeviceError)) as raised:
            short(tmp_path / name, device)
        assert name in str(raised.value) and "\n" not in str(raised.value)
    assert not history.exists(), "nothing was measured"


def test_a_disk_that_is_full_for_a_while_ends_no_measurement(
    toy_export: Path, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write, failures = ReportFile.write, iter([True, True])

    def full(file: ReportFile, report: Report) -> None:
        if next(failures, False):
            raise UsageError(f"--out {file.path}: cannot be written (No space left on device)")
        write(file, report)

    monkeypatch.setattr(ReportFile, "write", full)
    with caplog.at_level(logging.WARNING, "edgekit"):
        report = short(toy_export / "x86-64/toy.tflite", device, out=tmp_path / "out.json")
    assert report.complete and json.loads((tmp_path / "out.json").read_text())["complete"] is True
    assert caplog.text.count("No space left on device") == 1


@pytest.mark.parametrize(
    ("artifacts", "keywords", "error", "message"),
    [
        (["toy.onnx"], {"delegate": "xnnpack"}, UsageError, "it applies to none of the artifacts on here"),
        (["toy.mnn"], {"delegate": "gpu"}, UsageError, "--delegate gpu: python on here has none only for"),
        (["toy.onnx"], {"target": "android-gpu"}, ProfileError, "runs it on NnapiExecutionProvider, but edgekit on"),
        (["toy.mnn"], {"target": "android-gpu"}, ProfileError, "runs it on OPENCL, but python on here has CPU only"),
        (["toy.tflite"], {"delegate": "gpu"}, UsageError, "expected an Android device"),
        (["toy.tflite"], {"compare": "20261122-033834-1019f6"}, UsageError, "edgekit history compares recorded runs"),
        (["toy.tflite"], {"compare": "{export}"}, UsageError, "is among the artifacts already"),
        (["toy.tflite"], {"target": "android"}, ProfileError, 'unknown target "android"'),
        (["toy.tflite"], {"out": "/proc/nothing/out.json"}, UsageError, "--out /proc/nothing/out.json: cannot be"),
        (["toy.tflite"], {"device": "pixel"}, ProfileError, 'unknown device "pixel"'),
        (["toy.tflite"], {"tread": 1}, UsageError, 'unknown argument "tread"'),
    ],
)
def test_what_makes_no_sense_is_told_before_measuring(
    toy_export: Path, device: str, artifacts: list[str], keywords: dict[str, Any], error: type[Exception], message: str
) -> None:
    keywords = {
        key: value.format(export=toy_export) if isinstance(value, str) else value for key, value in keywords.items()
    }
    with pytest.raises(error) as raised:
        benchmark([toy_export / "x86-64" / name for name in artifacts], **{"device": device, **keywords})
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_cores_of_the_profile_are_used(toy_export: Path, device: str) -> None:
    Path(device).write_text(DEVICE + "cores = [0]\nthreads = 1\n")
    report = short(toy_export / "x86-64/toy.tflite", device)
    assert report.results[0].cores in ((0,), ())
    Path(device).write_text(DEVICE + "cores = [0, 4000]\n")
    with pytest.raises(ProfileError, match='"cores" has 4000'):
        short(toy_export / "x86-64/toy.tflite", device)
