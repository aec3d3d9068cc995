"""Whole benchmarks of a phone behind the real adb.

Once with a program that repeats what benchmark_model once wrote, once with edgekit's runner and LiteRT for arm64.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit.benchmarking import probe, protocol, schedule
from edgekit.benchmarking.executors import open_executor
from edgekit.benchmarking.runner.build import build_runner
from edgekit.benchmarking.runners import Limits, Trial, Workload, find_runner
from edgekit.errors import DependencyError, DeviceError, GateError, ModelError
from edgekit.profiles.device import Device
from edgekit.profiles.runner import RunnerProfile
from tests.benchmarking.adb.phone import Phone

RECORDED = Path(__file__).resolve().parents[1] / "recorded"
PARTITIONS = "Replacing 66 out of 66 node(s)"

Tool = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def export(classifier: Path, calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier as int8 .tflite, with the manifest that promises what is accelerated."""
    folder = tmp_path_factory.mktemp("export")
    edgekit.export(classifier, "android-arm64", calibration=calibration, out=folder, max_drop=100)
    return folder


@pytest.fixture
def artifact(export: Path) -> Path:
    return next(export.rglob("*.tflite"))


@pytest.fixture
def promised(export: Path) -> int:
    manifest = json.loads((export / "manifest.json").read_text())
    (found,) = [entry for entry in manifest["artifacts"] if entry["format"] == "tflite"]
    return found["delegation"]["accelerated_ops"]


@pytest.fixture
def benchmark_model(tool: Tool, phone: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    """Makes the profile of a phone whose benchmark_model says that XNNPACK took so many operations, in two rounds."""
    monkeypatch.setattr(schedule, "_QUICK_ROUNDS", 2)
    # A busy machine looks throttled, and a throttled one measures again.
    monkeypatch.setattr(protocol, "MAXIMUM_SLOWDOWN", float("inf"))
    monkeypatch.setattr(probe, "_DURATION_S", 0.01)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def make(operations: int) -> Path:
        text = (RECORDED / "benchmark_model_xnnpack_2_16.txt").read_text()
        words = text.replace(PARTITIONS, f"Replacing {operations} out of 66 node(s)")
        program = tool("benchmark_model", f'echo "$*" >> {phone.root}/calls\ncat <<"END"\n{words}END')
        profile = tmp_path / "pixel.toml"
        profile.write_text(
            f'description = "a phone"\nkind = "adb"\nserial = "{phone.serial}"\nabi = "arm64-v8a"\ncool_down_s = 0\n'
            f'threads = 2\n[runners.tflite]\nkind = "benchmark_model"\npath = "{program}"\n'
        )
        return profile

    return make


def test_the_phones_figures_are_in_the_report(
    benchmark_model: Callable[[int], Path], artifact: Path, promised: int, phone: Phone
):
    report = edgekit.benchmark(artifact, device=str(benchmark_model(promised)), quick=True, history=False)
    document = report.to_json()
    assert document["complete"]
    assert document["device"]["model"] == "Google Pixel 6"
    (result,) = document["results"]
    assert (result["runtime"], result["runner"], result["delegate"]) == ("litert", "benchmark_model", "xnnpack")
    assert (result["runs"], result["accelerated_ops"]) == (2 * 64, promised)
    assert result["median_ms"] == pytest.approx(7.45497)
    assert result["load_ms"] == pytest.approx(16.772)
    assert result["first_ms"] == pytest.approx(8.781)
    assert result["peak_memory_bytes"] == round(22.5 * 2**20)
    assert result["state"]["thermal_status"] == 0
    assert result["state"]["battery_percent"] == 88
    calls = (phone.root / "calls").read_text().splitlines()
    assert len(calls) == 2
    assert all("--num_threads=2" in call and "--use_xnnpack=true" in call for call in calls)
    assert list(phone.files.glob("session-*")) == []


def test_a_delegate_that_took_fewer_operations_than_promised(
    benchmark_model: Callable[[int], Path], artifact: Path, promised: int, phone: Phone
):
    device = benchmark_model(promised - 1)
    with pytest.raises(GateError, match=f"accelerates {promised - 1} of 66 operations .* expected {promised}"):
        edgekit.benchmark(artifact, device=str(device), quick=True, history=False)
    command = [sys.executable, "-m", "edgekit", "benchmark", str(artifact), "--device", str(device), "--quick"]
    command += ["--no-history", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 5
    document = json.loads(done.stdout)  # one document: what was measured, and why there is no more
    assert document["error"]["exit_code"] == 5 and "as android-arm64 promises" in document["error"]["message"]
    assert document["complete"] is False
    assert [result["accelerated_ops"] for result in document["results"]] == [promised - 1]
    assert "as android-arm64 promises" in " ".join(done.stderr.split())
    assert list(phone.files.glob("session-*")) == []
    assert (phone.root / "fixed-performance").read_text().split() == ["true", "false"] * 2


def test_garbage_from_the_program(benchmark_model: Callable[[int], Path], artifact: Path, phone: Phone):
    profile = benchmark_model(1)
    program = Path(profile.read_text().split('path = "')[1].split('"')[0])
    program.write_text("#!/bin/sh\necho 'Segmentation fault'\nexit 139\n")
    with pytest.raises(DeviceError, match="benchmark_model failed with exit code 139: Segmentation fault"):
        edgekit.benchmark(artifact, device=str(profile), quick=True, history=False)
    assert list(phone.files.glob("session-*")) == []


def test_a_program_that_is_on_the_phone_already(device: Device, phone: Phone, tool: Tool):
    program = phone.real("/data/local/tmp/benchmark_model")
    shutil.copy(tool("benchmark_model", "echo there"), program)
    runner = find_runner("benchmark_model")
    profile = RunnerProfile("benchmark_model", remote="/data/local/tmp/benchmark_model")
    on_phone = Device("pixel", None, "a phone", "adb", serial=phone.serial, runners={"tflite": profile})
    with open_executor(on_phone) as executor:
        with pytest.raises(DeviceError, match='is no program there; correct "remote"'):
            runner.prepare(executor, on_phone, "tflite")
        program.chmod(0o755)
        workload = Workload("tflite", "m", 1, Limits(1, 1, 1, 1))
        command = runner.prepare(executor, on_phone, "tflite").command(workload)
        assert executor.run(command, timeout=20).stdout == "there\n"


def _trial(device: Device, format_name: str, program: Path, model: Path) -> Trial:
    """One trial on the phone with the runtime's program that ``program`` stands for."""
    profile = RunnerProfile(program.name, path=program)
    device = replace(device, runners={format_name: profile})
    with open_executor(device) as executor:
        prepared = find_runner(program.name).prepare(executor, device, format_name)
        workload = Workload(format_name, executor.push(model), 1, Limits(1, 64, 0.25, 3.75), profile=True)
        return prepared.parse(executor.run(prepared.command(workload), timeout=60), workload)


def test_mnn_tells_how_it_takes_its_arguments_and_writes_only_into_the_session(
    device: Device, phone: Phone, tool: Tool, tmp_path: Path
):
    usage, output = ((RECORDED / f"mnnv2basic_{name}.txt").read_text() for name in ("usage_3_0", "3_0"))
    program = tool(
        "MNNV2Basic",
        f'[ $# = 0 ] && {{ cat <<"END"\n{usage}END\nexit 0; }}\necho "$*" >> {phone.root}/calls\n'
        f'echo 0 > "${{0%/*}}/output.txt"\nsed "s/Run 10 time/Run $2 time/" <<"END"\n{output}END',
    )
    (tmp_path / "model.mnn").write_bytes(b"mnn")
    trial = _trial(device, "mnn", program, tmp_path / "model.mnn")
    assert (trial.runs, trial.mean_ms) == (64, 5.5706)
    assert [op.op for op in trial.profile] == ["Raster", "BinaryOp", "ConvInt8", "ConvolutionDepthwise"]
    calls = [call.split()[1:] for call in (phone.root / "calls").read_text().splitlines()]
    assert calls == [["3", "0", "0", "1", "1"], ["64", "0", "0", "1", "1"]]
    assert list(phone.files.rglob("output.txt")) == []


def _gpu_phone(tmp_path: Path, phone: Phone, program: Path, format_name: str) -> str:
    profile = tmp_path / "gpu.toml"
    profile.write_text(
        f'description = "a phone"\nkind = "adb"\nserial = "{phone.serial}"\nabi = "arm64-v8a"\ncool_down_s = 0\n'
        f'[runners.{format_name}]\nkind = "{program.name}"\npath = "{program}"\n'
    )
    return str(profile)


@pytest.mark.parametrize("asked", [{"target": "android-gpu"}, {"delegate": "gpu"}])
def test_mnn_that_falls_back_to_the_cpu_breaks_the_promise(
    phone: Phone, tool: Tool, tmp_path: Path, asked: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(probe, "_DURATION_S", 0.01)
    usage, output = ((RECORDED / f"mnnv2basic_{name}.txt").read_text() for name in ("usage_3_0", "no_opencl"))
    program = tool(
        "MNNV2Basic",
        f'[ $# = 0 ] && {{ cat <<"END"\n{usage}END\nexit 0; }}\necho "$*" >> {phone.root}/calls\n'
        f'cat <<"END"\n{output}END',
    )
    model = tmp_path / "net.mnn"
    model.write_bytes(b"mnn")
    with pytest.raises(GateError, match="MNNV2Basic ran on backend 0, not on 3"):
        edgekit.benchmark(model, device=_gpu_phone(tmp_path, phone, program, "mnn"), quick=True, history=False, **asked)
    assert (phone.root / "calls").read_text().split()[3] == "3", "OpenCL"


def test_a_model_that_is_refused_is_named_as_the_file_here(
    phone: Phone, tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(probe, "_DURATION_S", 0.01)
    refused = "ERROR: Failed to mmap model $1\nERROR: Benchmarking failed."
    program = tool("benchmark_model", f'printf "{refused}\n" "$1"\nexit 1')
    model = tmp_path / "net.tflite"
    model.write_bytes(b"tflite")
    with pytest.raises(ModelError, match=rf"^{model}: benchmark_model refuses it") as raised:
        edgekit.benchmark(model, device=_gpu_phone(tmp_path, phone, program, "tflite"), quick=True, history=False)
    assert raised.value.exit_code == 3 and str(phone.files) not in str(raised.value)


def test_onnxruntime_tells_every_run(device: Device, phone: Phone, tool: Tool, tmp_path: Path):
    said, _, rows = (RECORDED / "onnxruntime_perf_test_1_20.txt").read_text().partition("edgekit: the result file\n")
    program = tool(
        "onnxruntime_perf_test", f'for last; do :; done\ncat >> "$last" <<"END"\n{rows}END\ncat <<"END"\n{said}END'
    )
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    trial = _trial(device, "onnx", program, tmp_path / "model.onnx")
    assert trial.times_ms == pytest.approx((19.9041, 20.0251, 19.7812, 19.942, 19.9047))
    assert trial.peak_memory_bytes == 109531136


def _x86_output(model: Path, inputs: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], inputs)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.fixture(scope="module")
def int8_model(classifier: Path, calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an int8 interface, so that its output is what its kernels calculated."""
    folder = tmp_path_factory.mktemp("int8")
    edgekit.export(classifier, "android-arm64", calibration=calibration, out=folder, max_drop=100, io="int8")
    return next(folder.rglob("*.tflite"))


@pytest.fixture(scope="module")
def sysroot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """arm64 libraries, LiteRT's among them, and the processor that they look for in /proc/cpuinfo."""
    from edgekit.emulation.cpu import find_cpu
    from edgekit.emulation.sysroot import build_sysroot

    try:
        built = build_sysroot("aarch64")
    except DependencyError as error:
        pytest.skip(str(error))
    view = tmp_path_factory.mktemp("sysroot")
    for entry in built.iterdir():
        if entry.name != "proc":
            (view / entry.name).symlink_to(entry)
    (view / "proc").mkdir()
    (view / "proc" / "cpuinfo").write_text(find_cpu("cortex-a76").cpuinfo())
    return view


@pytest.fixture(scope="module")
def qemu() -> str:
    from edgekit.emulation.emulator import find_qemu

    try:
        return find_qemu("aarch64")
    except DependencyError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def runner_program() -> Path:
    """edgekit's runner for arm64."""
    try:
        return build_runner("arm64-v8a", for_this_machine=False)
    except DependencyError as error:
        pytest.skip(str(error))


@pytest.mark.slow  # builds a sysroot and a program for another processor, once
def test_litert_for_arm64_calculates_what_it_does_here(
    qemu: str, sysroot: Path, runner_program: Path, int8_model: Path, make_phone: Callable[..., Phone], tmp_path: Path
):
    (library,) = (sysroot / "usr").resolve().rglob("libLiteRt.so")
    phone = make_phone()
    phone.emulator = f"{qemu} -cpu cortex-a76 -L {sysroot}"
    profile = RunnerProfile("edgekit", path=runner_program, libraries=(library,))
    device = Device("pixel", None, "a phone", "adb", serial=phone.serial, runners={"tflite": profile})
    codes = np.random.default_rng(5).integers(-128, 128, (1, 3, 16, 16), dtype=np.int8)
    here = _x86_output(int8_model, _as_input(int8_model, codes))
    (tmp_path / "input.bin").write_bytes(_as_input(int8_model, codes).tobytes())
    with open_executor(device) as executor:
        prepared = find_runner("edgekit").prepare(executor, device, "tflite")
        limits = Limits(warmup_s=0.2, min_runs=5, min_s=0.0, max_s=2.0)
        workload = Workload("tflite", executor.push(int8_model), 1, limits, delegate="xnnpack")
        inputs = ["--input", f"{_input_name(int8_model)}={executor.push(tmp_path / 'input.bin')}"]
        outputs = ["--output-folder", executor.folder]
        completed = executor.run([*prepared.command(workload), *inputs, *outputs], timeout=300)
        trial = prepared.parse(completed, workload)
        executor.pull("0.bin", tmp_path / "output.bin")
    there = np.frombuffer((tmp_path / "output.bin").read_bytes(), np.int8).reshape(here.shape)
    assert trial.runs >= 5
    assert trial.accelerated_ops is None or trial.accelerated_ops > 0
    assert np.ptp(here) > 10  # not the zero point alone
    assert np.abs(here.astype(int) - there.astype(int)).max() <= 1
    assert list(phone.files.rglob("*.bin")) == []


@pytest.mark.slow  # likewise
def test_a_whole_benchmark_with_the_emulated_runner(
    qemu: str,
    sysroot: Path,
    runner_program: Path,
    int8_model: Path,
    make_phone: Callable[..., Phone],
    benchmark_model: Callable[[int], Path],
    tmp_path: Path,
):
    (library,) = (sysroot / "usr").resolve().rglob("libLiteRt.so")
    phone = make_phone()
    phone.emulator = f"{qemu} -cpu cortex-a76 -L {sysroot}"
    profile = tmp_path / "emulated.toml"
    profile.write_text(
        f'description = "a phone"\nkind = "adb"\nserial = "{phone.serial}"\ncool_down_s = 0\n[runners.tflite]\n'
        f'kind = "edgekit"\npath = "{runner_program}"\nlibraries = ["{library}"]\n'
    )
    report = edgekit.benchmark(int8_model, device=str(profile), quick=True, duration=0.5, history=False)
    (result,) = report.to_json()["results"]
    assert (result["runtime"], result["runner"], result["rounds"]) == ("litert", "edgekit", 2)
    assert result["runs"] >= 2
    assert result["median_ms"] > 0
    assert list(phone.files.glob("session-*")) == []


def _input_name(model: Path) -> str:
    from ai_edge_litert.interpreter import Interpreter

    return str(Interpreter(str(model)).get_input_details()[0]["name"])


def _as_input(model: Path, codes: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    shape = Interpreter(str(model)).get_input_details()[0]["shape"]
    return codes.reshape(shape)
