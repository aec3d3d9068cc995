import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.interface import Precision
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.canonicalize.scale_by_readers import ScaleByReaders
from edgekit.passes.quantize import QuantizationScheme, calibrate, quantize
from tests.passes.canonicalize.rewriting import assert_same, build, noise, ops, rewritten, run

TWO_READERS = """
a = Conv(x, w, b)
j = Concat<axis = 1>(y, a)
p = Mul(j, m)
r = Relu(a)
k = Concat<axis = 1>(r, y)
q = Mul(k, n)
"""


def constant(model: ir.Model, name: str) -> np.ndarray:
    return model.graph.initializers[name].const_value.numpy().reshape(-1)


def two_readers(body: str = TWO_READERS, outputs: str = "p q", **changed: np.ndarray) -> ir.Model:
    constants = {
        "w": noise(4, 3, 1, 1),
        "b": noise(4, seed=1),
        "m": np.array([1, 2, 4, 4, 16, 4], np.float32).reshape(1, 6, 1, 1),
        "n": np.array([1, -4, 1, 0.25, 3, 5], np.float32).reshape(1, 6, 1, 1),
    } | changed
    return build({"x": (1, 3, 4, 4), "y": (1, 2, 4, 4)}, outputs, body, **constants)


def test_the_layer_takes_the_mean_scale_of_its_readers() -> None:
    model = two_readers()
    scaled = rewritten(model, ScaleByReaders())
    factors = np.sqrt([4 * 1, 4 * 4, 16 * 4, 4 * 1])  # the last two readers count as at most 4 times apart
    np.testing.assert_allclose(constant(scaled, "b"), constant(model, "b") * factors, rtol=1e-6)
    np.testing.assert_allclose(constant(scaled, "m"), [1, 2, *([4, 4, 16, 4] / factors)], rtol=1e-6)
    np.testing.assert_allclose(constant(scaled, "n"), [*([1, -4, 1, 0.25] / factors), 3, 5], rtol=1e-6)
    assert not ScaleByReaders()(scaled).modified


@pytest.mark.parametrize(
    ("extra", "outputs"),
    [
        ("", "p q a"),  # an output of the model
        ("s = Sigmoid(a)", "p q s"),
        ("s = Conv(a, v)", "p q s"),
        ("s = Concat<axis = 2>(a, z)", "p q s"),
        ("s = Mul(a, a)", "p q s"),
        ("s = Mul(a, t)", "p q s"),  # not per channel
        ("s = Mul(j, u)", "p q s"),
    ],
)
def test_nothing_changes_where_others_read_the_channels(extra: str, outputs: str) -> None:
    others = {"v": noise(2, 4, 1, 1), "z": noise(1, 4, 1, 4), "t": noise(1, 1, 4, 4) + 3, "u": noise(1, 1, 1, 4) + 3}
    model = two_readers(
        TWO_READERS + extra, outputs, **{name: value for name, value in others.items() if name in extra}
    )
    assert not ScaleByReaders()(model.clone()).modified


def test_shared_weights_stay() -> None:
    model = two_readers(TWO_READERS + "s = Conv(x, w)", "p q s")
    assert not ScaleByReaders()(model.clone()).modified


def test_a_concat_may_join_the_same_twice() -> None:
    body = "a = Conv(x, w, b)\nj = Concat<axis = 1>(a, a)\np = Mul(j, m)\nq = Add(p, y)"
    multiplier = np.array([1, 2, 3, 4, 50, 60, 70, 80], np.float32).reshape(1, 8, 1, 1)
    model = two_readers(body, "q", m=multiplier, n=np.ones(1, np.float32))
    del model.graph.initializers["n"]
    model.graph.inputs[1].shape = ir.Shape((1, 8, 4, 4))
    scaled = rewritten(model, ScaleByReaders())
    first, second = np.split(constant(scaled, "m"), 2)
    np.testing.assert_allclose(second, 2, rtol=1e-6)
    np.testing.assert_allclose(first, np.array([1, 2, 3, 4]) / [25, 30, 35, 40], rtol=1e-6)
    assert not ScaleByReaders()(scaled).modified


@pytest.mark.parametrize("gamma", [0.0, 1e-12, 1e-4])
def test_a_channel_that_one_reader_ignores_is_not_lost_for_the_other(gamma: float) -> None:
    m = np.array([1, 1, gamma, 1, 1, 1], np.float32).reshape(1, 6, 1, 1)
    model = two_readers(m=m, n=np.ones((1, 6, 1, 1), np.float32))
    scaled = rewritten(model, ScaleByReaders())
    np.testing.assert_allclose(constant(scaled, "b"), constant(model, "b") * [0.5, 1, 1, 1], rtol=1e-6)
    assert not ScaleByReaders()(scaled).modified


def test_a_channel_that_all_readers_ignore_stays() -> None:
    m, n = (np.array(each, np.float32).reshape(1, 6, 1, 1) for each in ([1, 1, 0, 4, 4, 4], [0, 4, 4, 4, 1, 1]))
    model = two_readers(m=m, n=n)
    scaled = rewritten(model, ScaleByReaders())
    np.testing.assert_allclose(constant(scaled, "b"), constant(model, "b") * [1, 4, 4, 4], rtol=1e-6)
    assert not ScaleByReaders()(scaled).modified


@settings(max_examples=40)
@given(st.lists(st.floats(-20, 20, width=32), min_size=6, max_size=6), st.integers(-15, 15))
def test_any_multipliers_compute_the_same(multipliers: list[float], exponent: int) -> None:
    multiplier = np.array(multipliers, np.float32).reshape(1, 6, 1, 1)
    model = two_readers(m=multiplier, n=np.float32(10.0**exponent) * noise(1, 6, 1, 1))
    scaled = model.clone()
    ScaleByReaders()(scaled)
    assert_same(model, scaled)


def test_a_dense_block_keeps_its_small_channels_in_int8() -> None:
    """The stem's channels are a fiftieth of the grown ones, and the norms behind the joins make them equal."""
    body = """
    a = Conv(x, w)
    n0 = Mul(a, s0)
    b0 = Add(n0, t0)
    r0 = Relu(b0)
    g = Conv<pads = [1, 1, 1, 1]>(r0, v)
    j = Concat<axis = 1>(a, g)
    n1 = Mul(j, s1)
    b1 = Add(n1, t1)
    r1 = Relu(b1)
    y = Conv(r1, u)
    """
    small = np.array([1] * 4 + [50] * 4, np.float32)
    constants = {
        "w": 0.02 * noise(4, 3, 1, 1),
        "s0": np.full((1, 4, 1, 1), 50, np.float32),
        "t0": noise(1, 4, 1, 1, seed=1),
        "v": noise(4, 4, 3, 3) / 3,
        "s1": (50 / small).reshape(1, 8, 1, 1),
        "t1": noise(1, 8, 1, 1, seed=2),
        "u": noise(5, 8, 1, 1),
    }
    model = canonicalize(build({"x": (1, 3, 8, 8)}, "y", body, **constants))
    assert ops(model).count("Concat") == 1
    scheme = QuantizationScheme(Precision.INT8)
    samples = [{"x": noise(1, 3, 8, 8, seed=seed)} for seed in range(24)]
    codes = quantize(model, scheme, calibrate(model, samples[:16], observer=scheme.observer))
    taught, given_ = (np.stack([run(each, feeds)["y"] for feeds in samples[16:]]) for each in (model, codes))
    assert 10 * np.log10((taught**2).sum() / ((taught - given_) ** 2).sum()) > 30
