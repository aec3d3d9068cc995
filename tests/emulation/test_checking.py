"""Real artifacts on emulated CPUs: what is right passes, and the faults that emulation is there for are found."""

import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgekit
from edgekit.emulation.emulator import find_qemu
from edgekit.exporters.mnn import lowering
from tests import toy


def save_dense(path: Path, weight: np.ndarray) -> Path:
    """x[1, K] -> MatMul -> y[1, M]"""
    depth, units = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="dense")],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, depth])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, units])],
        [numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_every_format_does_on_arm_what_it_does_here(
    sysroot: Path, classifier: Path, calibration: Path, tmp_path: Path
) -> None:
    edgekit.export(classifier, ["android-arm64"], calibration=calibration, out=tmp_path / "dist")
    command = [sys.executable, "-m", "edgekit", "verify", tmp_path / "dist", "--hashes-only", "--cpu", "i8mm", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    for artifact in json.loads(done.stdout)["artifacts"]:
        assert [each["cpu"] for each in artifact["emulated"]] == ["i8mm"]
        for each in artifact["emulated"]:
            assert each["samples"] == 4 and each["max_lsb"] <= 1.01
    assert "i8mm" in done.stderr and "0 LSB" in done.stderr


@pytest.mark.slow
def test_floats_agree_relative_to_the_largest(sysroot: Path, classifier: Path, tmp_path: Path) -> None:
    edgekit.export(classifier, ["android-arm64"], precision="fp32", out=tmp_path)
    found = edgekit.verify(tmp_path, hashes_only=True, cpu=["cortex-a76"], samples=1, sysroot=sysroot)
    for artifact in found.artifacts:
        (emulated,) = artifact.emulated
        assert emulated.max_lsb is None and emulated.max_relative_error < 1e-5


ODD = (1, 64, 10)
"""Pixels, inputs and outputs of the layer that MNN's i8mm kernel gets wrong: an odd number of channel blocks."""


FAULTY = ("3.6.0", "3.6.1")


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.chdir(tmp_path)  # whose profile "mnn" verify finds again
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "calibration.npz", x=rng.normal(size=(32, 64)).astype(np.float32))
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets/mnn.toml").write_text(
        'description = "MNN alone"\nextends = "android-arm64"\nformats = ["mnn"]\n'
    )
    return save_dense(tmp_path / "dense.onnx", rng.normal(size=ODD[1:])), tmp_path


def test_the_way_around_mnns_i8mm_kernel_works(sysroot: Path, odd: tuple[Path, Path]) -> None:
    model, folder = odd
    edgekit.export(model, ["mnn"], calibration=folder / "calibration.npz", out=folder / "good")
    (artifact,) = edgekit.verify(folder / "good", cpu=["i8mm"], sysroot=sysroot).artifacts
    assert artifact.emulated[0].max_lsb == 0


@pytest.mark.skipif(version("MNN") not in FAULTY, reason="this MNN's i8mm kernel may be right")
def test_what_only_arm_gets_wrong_is_found(
    sysroot: Path, odd: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder = odd
    without = tuple(rewrites for rewrites in lowering._INT8_REWRITES if "even_blocks" not in str(rewrites))
    assert len(without) == len(lowering._INT8_REWRITES) - 1
    monkeypatch.setattr(lowering, "_INT8_REWRITES", without)
    edgekit.export(model, ["mnn"], calibration=folder / "calibration.npz", out=folder / "bad")
    assert edgekit.verify(folder / "bad").artifacts[0].verification is not None  # x86 cannot see it
    with pytest.raises(edgekit.GateError, match=r'dense\.mnn on i8mm: output "y" is up to \d+ LSB off'):
        edgekit.verify(folder / "bad", cpu=["i8mm"], sysroot=sysroot)


def has_vnni() -> bool:
    flags = Path("/proc/cpuinfo").read_text()
    return "avx512_vnni" in flags or "avx_vnni" in flags


@pytest.mark.slow
@pytest.mark.skipif(not has_vnni(), reason="without VNNI this machine saturates too")
def test_saturation_without_vnni_is_found_and_seven_bits_avoid_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        find_qemu("x86_64")
    except edgekit.DependencyError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(0)
    # 255 x 127 + 255 x 127 does not fit into 16 bits.
    model = save_dense(tmp_path / "dense.onnx", rng.uniform(0.9, 1, size=(64, 16)))
    np.savez(tmp_path / "calibration.npz", x=rng.uniform(0.5, 1, size=(32, 64)).astype(np.float32))
    (tmp_path / "targets").mkdir()
    for name, base in (("eight", "x86-64"), ("seven", "x86-64-avx2")):
        profile = (
            f'description = "ONNX on AVX2"\nextends = "{base}"\nformats = ["onnx"]\n[emulation]\ncpus = ["haswell"]\n'
        )
        (tmp_path / f"targets/{name}.toml").write_text(profile)
    monkeypatch.chdir(tmp_path)
    # max_drop: the outputs of this layer are too much alike for a top-1.
    samples = tmp_path / "calibration.npz"
    edgekit.export(model, ["eight", "seven"], calibration=samples, out=tmp_path / "dist", max_drop=100)
    (seven,) = edgekit.verify(tmp_path / "dist", emulate=True, target=["seven"]).artifacts
    assert seven.emulated[0].cpu == "haswell" and (seven.emulated[0].max_lsb or 0) <= 1
    with pytest.raises(edgekit.GateError, match=r"eight/dense\.onnx on haswell: output .* LSB off"):
        edgekit.verify(tmp_path / "dist", emulate=True, target=["eight"])


@pytest.mark.slow
def test_a_runtime_that_crashes_in_the_emulator_is_named(
    sysroot: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edgekit.export(classifier, ["android-arm64"], precision="fp32", out=tmp_path / "dist")
    # A qemu that dies when the worker starts, but not when Python is tried.
    real = find_qemu("aarch64")
    fake = tmp_path / "qemu-aarch64-static"
    fake.write_text(f'#!/bin/sh\ncase "$*" in *edgekit.runtimes.worker*) kill -ILL $$;; esac\nexec {real} "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(edgekit.GateError) as caught:
        edgekit.verify(tmp_path / "dist", hashes_only=True, cpu=["cortex-a53"], samples=1, sysroot=sysroot)
    assert str(caught.value).count("on cortex-a53: ") == 3 and "SIGILL" in str(caught.value)


@pytest.mark.slow
def test_a_batch_and_integer_codes_pass_through(
    sysroot: Path, classifier: Path, calibration: Path, tmp_path: Path
) -> None:
    keywords = {"calibration": calibration, "out": tmp_path / "dist", "input_shapes": {"image": (2, *toy.SHAPE)}}
    edgekit.export(classifier, ["linux-arm64"], io="int8", **keywords)  # type: ignore[arg-type]
    found = edgekit.verify(tmp_path / "dist", hashes_only=True, cpu=["cortex-a76"], samples=2, sysroot=sysroot)
    assert [a.artifact.outputs[0].dtype for a in found.artifacts] == ["int8", "float32", "int8"]
    assert all((a.emulated[0].max_lsb or 0) <= 1.01 for a in found.artifacts)


def test_an_interrupt_ends_the_emulators_at_once(sysroot: Path, classifier: Path, tmp_path: Path) -> None:
    edgekit.export(classifier, ["android-arm64"], precision="fp32", out=tmp_path / "dist")
    # A qemu that never answers a worker.
    (tmp_path / "qemu-aarch64-static").write_text(
        f'#!/bin/sh\ncase "$*" in *edgekit.runtimes.worker*) echo started >> {tmp_path}/log; exec sleep 600;; esac\n'
    )
    (tmp_path / "qemu-aarch64-static").chmod(0o755)
    command = [sys.executable, "-m", "edgekit", "verify", tmp_path / "dist", "--hashes-only", "--emulate"]
    environment = {**os.environ, "PATH": f"{tmp_path}:/bin:/usr/bin"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "log").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.terminate()
    assert "interrupted" in process.communicate(timeout=60)[1]
    assert process.returncode == 130


def test_samples_are_counted_and_not_batches(sysroot: Path, classifier: Path, tmp_path: Path) -> None:
    """Eight images are two batches of four."""
    model = onnx.load(classifier)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, tmp_path / "toy.onnx")
    np.savez(tmp_path / "calibration.npz", x=toy.images(12, seed=5)[0])
    (tmp_path / "one.toml").write_text('description = "one"\nextends = "android-arm64"\nformats = ["tflite"]\n')
    edgekit.export(
        tmp_path / "toy.onnx", [str(tmp_path / "one.toml")], calibration=tmp_path / "calibration.npz", out=tmp_path
    )
    for samples, counted in ((8, 8), (None, 4)):
        found = edgekit.verify(tmp_path, hashes_only=True, cpu=["cortex-a76"], samples=samples, sysroot=sysroot)
        assert [each.samples for artifact in found.artifacts for each in artifact.emulated] == [counted]
