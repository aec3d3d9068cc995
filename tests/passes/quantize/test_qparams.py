import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgekit.passes.quantize.qparams import (
    MIN_SCALE,
    QParams,
    channel_bounds,
    choose_qparams,
    choose_symmetric_qparams,
    dequantize,
    fake_quantize,
    quantize,
)
from edgekit.passes.quantize.scheme import PerAxis, PerTensor

reals = st.floats(-(2.0**126), 2.0**126, allow_nan=False, width=32)


@given(reals, reals)
def test_a_range_gives_a_usable_scale_and_an_exact_zero(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    q = choose_qparams(low, high)
    assert np.isfinite(q.scale) and q.scale >= np.float32(MIN_SCALE)
    assert -128 <= q.zero_point <= 127
    assert dequantize(quantize(np.zeros(1, np.float32), q), q)[0] == 0
    # Rounding the zero point moves the range by at most half a step.
    assert (-128 - int(q.zero_point)) * float(q.scale) <= min(low, 0) + 0.51 * float(q.scale)
    assert (127 - int(q.zero_point)) * float(q.scale) >= max(high, 0) - 0.51 * float(q.scale)


@given(hnp.arrays(np.float32, st.integers(1, 50), elements=st.floats(-1e6, 1e6, width=32)))
def test_fake_quantization_is_within_half_a_step_inside_the_range(values: np.ndarray) -> None:
    q = choose_qparams(float(values.min()), float(values.max()))
    error = np.abs(fake_quantize(values, q).astype(np.float64) - values)
    assert np.all(error <= float(q.scale) * 1.01)


@given(hnp.arrays(np.float32, st.integers(1, 50), elements=st.floats(-10, 10, width=32)))
def test_fake_quantization_is_idempotent(values: np.ndarray) -> None:
    q = choose_qparams(float(values.min()), float(values.max()))
    once = fake_quantize(values, q)
    assert np.array_equal(fake_quantize(once, q), once)


@given(
    hnp.arrays(np.float32, (4, 3), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
    st.sampled_from([127, 63]),
    st.booleans(),
)
def test_symmetric_parameters_cover_every_channel(weight: np.ndarray, quant_max: int, per_axis: bool) -> None:
    granularity = PerAxis(0) if per_axis else PerTensor()
    q = choose_symmetric_qparams(channel_bounds(weight, granularity), quant_max, granularity)
    assert np.all(np.isfinite(q.scale)) and np.all(q.scale > 0) and np.all(q.zero_point == 0)
    codes = quantize(weight, q)
    assert np.abs(codes.astype(int)).max() <= quant_max
    step = np.broadcast_to(q.along(2)[0], weight.shape).astype(np.float64)
    assert np.all(np.abs(dequantize(codes, q) - weight.astype(np.float64)) <= step * 0.501)


def test_a_channel_of_zeros_takes_the_largest_scale() -> None:
    q = choose_symmetric_qparams(np.array([0.0, 127.0, 12.7]), 127, PerAxis(0))
    assert q.scale.tolist() == pytest.approx([1.0, 1.0, 0.1])
    assert choose_symmetric_qparams(np.zeros(2), 127, PerAxis(0)).scale.tolist() == pytest.approx([1 / 127] * 2)


def test_relu6_is_exact_at_both_ends() -> None:
    q = choose_qparams(0.0, 6.0)
    assert (int(q.zero_point), float(q.scale)) == (-128, pytest.approx(6 / 255))
    assert quantize(np.array([-1, 0, 6, 7], np.float32), q).tolist() == [-128, -128, 127, 127]


def test_a_constant_zero_tensor_keeps_its_value() -> None:
    q = choose_qparams(0.0, 0.0)
    assert fake_quantize(np.zeros(3, np.float32), q).tolist() == [0, 0, 0]


@pytest.mark.parametrize("bounds", [(0.0, np.inf), (-np.inf, 0.0), (np.nan, 1.0), (1.0, 0.0)])
def test_ranges_without_meaning_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="finite and ordered"):
        choose_qparams(*bounds)


@pytest.mark.parametrize("bound", [np.inf, np.nan, -1.0])
def test_bounds_without_meaning_are_refused(bound: float) -> None:
    with pytest.raises(ValueError, match="finite and not negative"):
        choose_symmetric_qparams(np.array([1.0, bound]), 127, PerAxis(0))


def test_parameters_are_equal_only_bit_for_bit() -> None:
    q = choose_qparams(-1.0, 1.0)
    assert q.equals(choose_qparams(-1.0, 1.0))
    assert not q.equals(choose_qparams(-1.0, 1.0001))
    assert not q.equals(QParams(q.scale, q.zero_point, -127, 127))
