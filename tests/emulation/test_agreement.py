from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgekit
from edgekit.emulation.agreement import OutputAgreement, summarize
from edgekit.emulation.cpu import CPUS
from edgekit.emulation.tolerance import ADDED, Tolerance, tolerance
from edgekit.exporters import ExportedInterface
from edgekit.interface import Precision, TensorSpec
from edgekit.profiles.gate import Gate
from edgekit.verification.comparison import Subject

FLOATS = TensorSpec("y", "float32", (1, 1000))
CODES = TensorSpec("y", "int8", (1, 1000), scale=0.1, zero_point=3)
STRICT, MNN, FLOAT = Tolerance(integer=True), Tolerance(integer=True, added=ADDED["mnn"]), Tolerance(integer=False)


def agreement(differences: np.ndarray, limits: Tolerance, *, step: float | None = 0.05) -> OutputAgreement:
    native = np.round(np.random.default_rng(0).normal(size=differences.shape) * 30) * (step or 1)
    output = OutputAgreement(FLOATS, step, limits)
    output.update(native.astype(np.float32), (native + differences * (step or 1)).astype(np.float32))
    return output


def off(*steps: float, size: int = 1000) -> np.ndarray:
    """Values of which the first few are off."""
    return np.array([*steps, *[0] * (size - len(steps))], np.float64)


def rounded(rms: float) -> np.ndarray:
    """What single steps leave behind when they have added up."""
    return np.round(np.random.default_rng(1).normal(size=1000) * rms)


def subject(format_name: str, precision: Precision, path: Path = Path("file")) -> Subject:
    return Subject("target", format_name, path, ExportedInterface((), ()), Gate(), "label", precision)


@given(step=st.floats(1e-4, 10), most=st.integers(0, 50), count=st.integers(1, 500))
def test_differences_are_counted_in_steps(step: float, most: int, count: int) -> None:
    output = agreement(off(*[most] * count), STRICT, step=step)
    largest, rms, share = output.steps()
    assert largest == pytest.approx(most, abs=1e-2)
    assert rms == pytest.approx(most * np.sqrt(count / 1000), abs=1e-2)
    assert share == (count / 1000 if most else 0)


@given(most=st.integers(0, 20))
def test_one_step_is_the_limit(most: int) -> None:
    told = agreement(off(most), STRICT).shortfall()
    assert (told is None) is (most <= 1)
    assert told is None or f"up to {most} LSB off" in told


def test_roundings_that_add_up_are_not_for_litert() -> None:
    limits = {each: tolerance(subject(each, Precision.INT8), CPUS["i8mm"]).added for each in ("tflite", "onnx", "mnn")}
    assert limits == {"tflite": None, "onnx": ADDED["onnx"], "mnn": ADDED["mnn"]}
    differences = rounded(0.8)
    assert 2 <= np.abs(differences).max() <= 4
    assert agreement(differences, STRICT).shortfall() is not None
    output = agreement(differences, MNN)
    assert output.shortfall() is None and output.is_added
    (note,) = summarize("i8mm", 1, [output]).notes
    assert "LSB off (RMS 0.8" in note


@pytest.mark.parametrize(
    "differences",
    [off(6, -6, size=100), off(5), off(50), off(4, size=100), off(2, size=1000), np.full(1000, 2.0), rounded(1.3)],
    ids=["two of 100 by 6", "one by 5", "one by 50", "one of 100 by 4", "one of 1000 by 2", "all by 2", "too many"],
)
def test_few_values_far_off_or_all_of_them_fail_everywhere(differences: np.ndarray) -> None:
    for limits in (STRICT, MNN):
        told = agreement(differences, limits).shortfall()
        assert told is not None and f"up to {np.abs(differences).max():.3g} LSB off" in told


def test_integer_outputs_are_compared_by_their_codes() -> None:
    output = OutputAgreement(CODES, None, STRICT)
    output.update(np.full((1, 1000), 127, np.int8), np.full((1, 1000), -128, np.int8))
    assert output.steps()[0] == 255
    assert output.shortfall() is not None


@pytest.mark.parametrize(("difference", "passes"), [(0.9, True), (1.1, False)])
def test_without_a_scale_in_the_file_a_step_is_one_of_255_and_said(difference: float, passes: bool) -> None:
    output = OutputAgreement(FLOATS, None, STRICT)
    native = np.linspace(-255, 255, 1000, dtype=np.float32)
    output.update(native, native + np.float32(difference))
    assert (output.shortfall() is None) is passes
    assert summarize("i8mm", 1, [output]).max_lsb is None
    if passes:
        assert "1/255 of the largest value" in summarize("i8mm", 1, [output]).notes[0]


@pytest.mark.parametrize(("error", "passes"), [(0.9e-4, True), (1.2e-4, False)])
def test_floats_are_compared_with_the_largest(error: float, passes: bool) -> None:
    output = OutputAgreement(FLOATS, None, FLOAT)
    native = np.linspace(-1, 1, 1000, dtype=np.float32)
    output.update(native, native + np.float32(error))
    assert (output.shortfall() is None) is passes
    assert summarize("cortex-a53", 1, [output]).max_lsb is None
    assert summarize("cortex-a53", 1, [output]).max_relative_error == pytest.approx(error, rel=1e-2)


def test_only_half_precision_arithmetic_has_more_room(classifier: Path, tmp_path: Path) -> None:
    edgekit.export(classifier, ["android-arm64"], precision="fp16", out=tmp_path, name="toy")
    for format_name in ("tflite", "mnn", "onnx"):
        path = tmp_path / f"android-arm64/toy.{format_name}"
        for cpu in CPUS.values():
            limits = tolerance(subject(format_name, Precision.FP16, path), cpu)
            half = format_name == "onnx" and cpu.name in ("cortex-a76", "i8mm")
            assert (limits.relative > 1e-4) is half and (limits.note is not None) is half
            assert limits.relative < 1e-2
    for precision in (Precision.FP32, Precision.INT8_WEIGHTS):
        assert tolerance(subject("onnx", precision), CPUS["i8mm"]) == FLOAT


def test_indices_are_told_but_not_judged() -> None:
    output = OutputAgreement(TensorSpec("y", "int64", (1, 4)), None, FLOAT)
    output.update(np.array([[1, 2, 3, 4]]), np.array([[1, 2, 3, 9]]))
    assert output.shortfall() is None
    assert output.notes() == ['output "y" has other indices in 25.0% of the values, which is not judged']


def test_what_is_not_finite_never_passes() -> None:
    output = OutputAgreement(FLOATS, 0.1, MNN)
    output.update(np.zeros((1, 2), np.float32), np.array([[0, np.nan]], np.float32))
    assert output.shortfall() == 'output "y" has NaN or infinity'
