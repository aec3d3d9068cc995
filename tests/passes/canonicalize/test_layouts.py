import numpy as np
import pytest

from edgekit.passes.canonicalize import canonicalize
from tests.passes.canonicalize.rewriting import assert_same, build, noise, ops

IMAGE = {"x": (1, 3, 6, 8)}
NHWC, NCHW = "Transpose<perm = [0, 2, 3, 1]>", "Transpose<perm = [0, 3, 1, 2]>"


def canonical(body: str, inputs=None, outputs: str = "y", **constants: object):
    model = build(inputs or IMAGE, outputs, body, **constants)
    after = canonicalize(model)
    assert_same(model, after)
    return after


@pytest.mark.parametrize(
    ("middle", "expected"),
    [
        ("b = Relu(a)", ["Relu"]),
        ("b = Add(a, c)", []),
        ("b = Clip(a, lo, hi)", ["Clip"]),
        ("b = Softmax<axis = -1>(a)", ["Softmax"]),
        ("b = Concat<axis = 3>(a, a)", ["Concat"]),
        ("b = Pad(a, pads)", []),
        ("b = Slice(a, starts, ends, axes)", ["Slice"]),
        ("b = ReduceMean<keepdims = 1>(a, spatial)", ["ReduceMean"]),
        ("s = Sigmoid(a)\nb = Mul(a, s)", ["Sigmoid", "Mul"]),
        ("p, q = Split<axis = 3, num_outputs = 2>(a)\nb = Concat<axis = 3>(q, p)", ["Split", "Concat"]),
    ],
)
def test_layout_agnostic_ops_between_convolutions_need_no_transposes(middle, expected) -> None:
    known = {
        "c": noise(4),
        "lo": np.float32(-1),
        "hi": np.float32(1),
        "pads": np.array([0, 1, 0, 0, 0, 0, 2, 0]),
        "starts": np.array([1, 0]),
        "ends": np.array([5, 4]),
        "axes": np.array([1, -1]),
        "spatial": np.array([1, 2]),
    }
    words = set(middle.replace("(", " ").replace(")", " ").replace(",", " ").split())
    channels = 8 if "Concat<axis = 3>(a" in middle else 4
    body = f"t = Conv(x, v)\na = {NHWC}(t)\n{middle}\nu = {NCHW}(b)\ny = Conv(u, w)"
    constants = {name: value for name, value in known.items() if name in words}
    after = canonical(
        body,
        v=noise(4, 3, 1, 1),
        w=noise(5, channels, 3, 3) if "Reduce" not in middle else noise(5, 4, 1, 1),
        **constants,
    )
    assert ops(after) == ["Conv", *expected, "Conv"]


def test_one_transpose_stays_at_a_channels_last_input_and_scaling_folds_behind_it() -> None:
    body = f"s = Mul(x, k)\nu = {NCHW}(s)\nt = Conv(u, w)\na = {NHWC}(t)\nb = Relu(a)\nv = {NCHW}(b)\ny = Conv(v, w2)"
    after = canonical(body, {"x": (1, 6, 8, 3)}, w=noise(4, 3, 3, 3), w2=noise(2, 4, 1, 1), k=np.float32(1 / 255))
    assert ops(after) == ["Transpose", "Conv", "Relu", "Conv"]


def test_a_residual_in_the_other_layout_follows() -> None:
    body = f"""t = Conv(x, v)
        a = {NHWC}(t)
        r = Relu(a)
        u = {NCHW}(r)
        s = Conv(u, w)
        b = {NHWC}(s)
        c = Add(a, b)
        d = {NCHW}(c)
        y = Conv(d, w)"""
    assert ops(canonical(body, v=noise(4, 3, 1, 1), w=noise(4, 4, 1, 1))) == ["Conv", "Relu", "Conv", "Add", "Conv"]


def test_a_flattened_transpose_goes_into_the_classifier() -> None:
    body = f"t = Conv(x, v)\na = {NHWC}(t)\nf = Flatten(a)\nm = MatMul(f, w)\ny = Add(m, c)"
    after = canonical(body, v=noise(4, 3, 1, 1), w=noise(6 * 8 * 4, 10), c=noise(10))
    assert ops(after) == ["Conv", "Reshape", "Gemm"]


def test_a_pooled_transpose_goes() -> None:
    body = f"t = Conv(x, v)\na = {NHWC}(t)\nr = Relu(a)\np = ReduceMean<keepdims = 0>(r, axes)\ny = MatMul(p, w)"
    after = canonical(body, v=noise(4, 3, 1, 1), axes=np.array([1, 2]), w=noise(4, 10))
    assert ops(after) == ["Conv", "Relu", "ReduceMean", "Gemm"]


def test_squeeze_and_excite_in_channels_last() -> None:
    body = f"""t = Conv(x, v)
        a = {NHWC}(t)
        p = ReduceMean<keepdims = 0>(a, axes)
        q = Reshape(p, shape)
        u = {NCHW}(q)
        g = Conv(u, w)
        h = {NHWC}(g)
        s = Sigmoid(h)
        m = Mul(a, s)
        n = {NCHW}(m)
        y = Conv(n, w)"""
    constants = {"axes": np.array([1, 2]), "shape": np.array([-1, 1, 1, 4])}
    after = canonical(body, v=noise(4, 3, 1, 1), w=noise(4, 4, 1, 1), **constants)
    assert ops(after) == ["Conv", "ReduceMean", "Conv", "Sigmoid", "Mul", "Conv"]


def test_one_dimensional_convolutions_meet_without_reshapes() -> None:
    expand, shrink = "Unsqueeze", "Squeeze"
    body = f"""e = {expand}({"x"}, axis)
        u = {NCHW}(e)
        t = Conv(u, v)
        a = {NHWC}(t)
        s = {shrink}(a, axis)
        b = Add(s, c)
        r = Relu(b)
        f = {expand}(r, axis)
        w2 = {NCHW}(f)
        o = Conv(w2, w)
        n = {NHWC}(o)
        y = {shrink}(n, axis)"""
    constants = {"axis": np.array([1]), "v": noise(4, 3, 1, 3), "w": noise(5, 4, 1, 3), "c": noise(4)}
    after = canonical(body, {"x": (1, 9, 3)}, **constants)
    assert [op for op in ops(after) if op not in ("Reshape", "Transpose")] == ["Conv", "Relu", "Conv"]
    assert len(after.graph) <= 7


def test_a_transpose_of_one_long_axis_is_a_reshape() -> None:
    after = canonical(f"y = {NCHW}(x)", {"x": (1, 1, 1, 7)})
    assert ops(after) == ["Reshape"]


def test_transposes_that_do_something_stay() -> None:
    after = canonical(f"t = {NHWC}(x)\ny = MatMul(t, w)", w=noise(3, 5))
    assert ops(after) == ["Transpose", "MatMul"]


@pytest.mark.parametrize("outputs", ["y a", "y r a", "r y"])
def test_values_that_are_outputs_keep_layout_and_name(outputs) -> None:
    body = f"t = Conv(x, v)\na = {NHWC}(t)\nr = Relu(a)\nu = {NCHW}(r)\ny = Conv(u, w)"
    after = canonical(body, outputs=outputs, v=noise(4, 3, 1, 1), w=noise(4, 4, 1, 1))
    assert [value.name for value in after.graph.outputs] == outputs.split()
