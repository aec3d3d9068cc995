import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.emulation.agreement import OutputAgreement, summarize
from edgekit.interface import Precision, TensorSpec

FLOATS = TensorSpec("y", "float32", (1, 1000))
CODES = TensorSpec("y", "int8", (1, 1000), scale=0.1, zero_point=3)


def agreement(
    differences: np.ndarray, *, spec: TensorSpec = FLOATS, step: float | None = 0.05, precision: Precision | None
) -> OutputAgreement:
    native = np.round(np.random.default_rng(0).normal(size=differences.shape) * 30) * (1 if step is None else step)
    output = OutputAgreement(spec, step, precision)
    output.update(native.astype(np.float32), (native + differences * (step or 1)).astype(np.float32))
    return output


def off(*steps: float) -> np.ndarray:
    """1000 values, of which the first few are off."""
    return np.array([*steps, *[0] * (1000 - len(steps))], np.float64)


@given(step=st.floats(1e-4, 10), most=st.integers(0, 50), count=st.integers(1, 500))
def test_differences_are_counted_in_steps(step: float, most: int, count: int) -> None:
    output = agreement(off(*[most] * count), step=step, precision=Precision.INT8)
    largest, rms, share = output.steps()
    assert largest == pytest.approx(most, abs=1e-2)
    assert rms == pytest.approx(most * np.sqrt(count / 1000), abs=1e-2)
    assert share == (count / 1000 if most else 0)


def test_one_step_anywhere_and_added_roundings_pass() -> None:
    assert agreement(np.ones(1000), precision=Precision.INT8).shortfall() is None
    assert agreement(off(4, -3, *[1] * 400), precision=Precision.INT8).shortfall() is None


@pytest.mark.parametrize("differences", [off(50), off(7), np.full(1000, 2.0)])
def test_one_wrong_value_or_many_do_not(differences: np.ndarray) -> None:
    told = agreement(differences, precision=Precision.INT8).shortfall()
    assert told is not None and f"up to {differences.max():.3g} LSB off" in told


def test_integer_outputs_are_compared_by_their_codes() -> None:
    output = OutputAgreement(CODES, None, Precision.INT8)
    output.update(np.full((1, 1000), 127, np.int8), np.full((1, 1000), -128, np.int8))
    assert output.steps()[0] == 255
    assert output.shortfall() is not None


def test_without_a_scale_in_the_file_a_step_is_one_of_255() -> None:
    output = OutputAgreement(FLOATS, None, Precision.INT8_DYNAMIC)
    output.update(np.linspace(0, 255, 1000, dtype=np.float32), np.linspace(1, 256, 1000, dtype=np.float32))
    assert output.steps()[0] == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(
    ("precision", "error", "passes"),
    [
        (Precision.FP32, 0.9e-4, True),
        (Precision.FP32, 1.2e-4, False),
        (Precision.INT8_WEIGHTS, 1.2e-4, False),
        (Precision.FP16, 1e-2, True),
        (Precision.FP16, 4e-2, False),
    ],
)
def test_floats_are_compared_with_the_largest(precision: Precision, error: float, passes: bool) -> None:
    output = OutputAgreement(FLOATS, None, precision)
    native = np.linspace(-1, 1, 1000, dtype=np.float32)
    output.update(native, native + np.float32(error))
    assert (output.shortfall() is None) is passes
    assert summarize("cortex-a53", 1, [output]).max_lsb is None
    assert summarize("cortex-a53", 1, [output]).max_relative_error == pytest.approx(error, rel=1e-2)


def test_what_is_not_finite_never_passes() -> None:
    output = OutputAgreement(FLOATS, 0.1, Precision.INT8)
    output.update(np.zeros((1, 2), np.float32), np.array([[0, np.nan]], np.float32))
    assert output.shortfall() == 'output "y" has NaN or infinity'
