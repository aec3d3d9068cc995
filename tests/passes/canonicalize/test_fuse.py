import math

import numpy as np
import pytest

from edgekit.passes.canonicalize import canonicalize
from tests.passes.canonicalize.rewriting import assert_same, build, noise, ops

SHAPE = (2, 3, 4, 5)
NUMBERS = {
    "three": 3.0,
    "six": 6.0,
    "zero": 0.0,
    "sixth": 1 / 6,
    "half": 0.5,
    "one": 1.0,
    "two": 2.0,
    "root2": math.sqrt(2),
    "fifth": 0.2,
    "cube": 0.044715,
    "tenth": 0.1,
    "rootpi": math.sqrt(2 / math.pi),
    "e3": 3.0,
    "minus": -1.0,
    "eps": 1e-5,
}


def canonical(body: str, outputs: str = "y", shape: tuple[int, ...] = SHAPE, **constants: object):
    words = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    scalars = {name: np.float32(value) for name, value in NUMBERS.items() if name in words}
    model = build({"x": shape}, outputs, body, **scalars, **constants)
    after = canonicalize(model)
    assert_same(model, after, tolerance=2e-5)
    return after


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a = Add(x, three)\nb = Clip(a, zero, six)\nc = Mul(b, sixth)\ny = Mul(x, c)", ["HardSwish"]),
        ("a = Add(three, x)\nb = Clip(a, zero, six)\nc = Mul(b, x)\ny = Div(c, six)", ["HardSwish"]),
        ("a = Add(x, three)\nr = Relu(a)\nb = Min(r, six)\nc = Mul(x, sixth)\ny = Mul(c, b)", ["HardSwish"]),
        ("a = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x)\ny = Mul(a, x)", ["HardSwish"]),
        ("a = HardSigmoid(x)\ny = Mul(a, x)", ["HardSigmoid", "Mul"]),
        ("a = Mul(x, fifth)\nb = Add(a, half)\ny = Clip(b, zero, one)", ["HardSigmoid"]),
        ("a = Add(x, three)\nb = Clip(a, zero, six)\ny = Div(b, six)", ["HardSigmoid"]),
        ("a = Sigmoid(x)\ny = Mul(a, x)", ["Sigmoid", "Mul"]),
        ("a = Div(x, root2)\nb = Erf(a)\nc = Add(b, one)\nd = Mul(x, c)\ny = Mul(d, half)", ["Gelu"]),
        ("a = Div(x, root2)\nb = Erf(a)\nc = Add(one, b)\nd = Mul(half, x)\ny = Mul(d, c)", ["Gelu"]),
        ("a = Div(x, root2)\nb = Erf(a)\nc = Add(one, b)\nd = Mul(half, c)\ny = Mul(x, d)", ["Gelu"]),
        (
            "p = Pow(x, e3)\nq = Mul(p, cube)\nr = Add(x, q)\ns = Mul(r, rootpi)\nt = Tanh(s)\n"
            "u = Add(t, one)\nv = Mul(x, u)\n"
            "y = Mul(v, half)",
            ["Gelu"],
        ),
        (
            "o = Mul(x, x)\np = Mul(x, o)\nq = Mul(cube, p)\nr = Add(q, x)\ns = Mul(rootpi, r)\nt = Tanh(s)\n"
            "u = Add(one, t)\n"
            "h = Mul(half, x)\ny = Mul(h, u)",
            ["Gelu"],
        ),
        (
            "o = Mul(cube, x)\np = Mul(x, o)\nq = Mul(x, p)\nr = Add(x, q)\ns = Mul(rootpi, r)\nt = Tanh(s)\n"
            "h = Mul(t, half)\nu = Add(h, half)\ny = Mul(x, u)",
            ["Gelu"],
        ),
        (
            "o = Mul(x, x)\np = Mul(cube, o)\nq = Add(p, one)\nr = Mul(x, q)\ns = Mul(rootpi, r)\nt = Tanh(s)\n"
            "u = Add(t, one)\nv = Mul(x, u)\ny = Mul(half, v)",
            ["Gelu"],
        ),
        ("g = Greater(x, zero)\nm = Mul(slope, x)\ny = Where(g, x, m)", ["PRelu"]),
        ("g = GreaterOrEqual(x, zero)\nm = Mul(x, tenth)\ny = Where(g, x, m)", ["LeakyRelu"]),
        ("a = Softplus(x)\nb = Tanh(a)\ny = Mul(x, b)", ["Mish"]),
        ("e = Exp(x)\nf = Add(e, one)\na = Log(f)\nb = Tanh(a)\ny = Mul(b, x)", ["Mish"]),
        ("a = Mul(x, tenth)\ny = Max(x, a)", ["LeakyRelu"]),
        ("p = Relu(x)\nn = Neg(x)\nr = Relu(n)\nm = Mul(r, slope)\ny = Add(p, m)", ["PRelu"]),
        ("r = Relu(x)\ny = Min(r, six)", ["Clip"]),
        ("r = Clip(x, zero, six)\ny = Relu(r)", ["Clip"]),
        ("r = Sigmoid(x)\ny = Relu(r)", ["Sigmoid"]),
        ("y = Max(x, zero)", ["Relu"]),
        ("y = Clip(x, zero)", ["Relu"]),
        ("r = Clip(x, minus, three)\ns = Clip(r, , two)\ny = Clip(s, minus, six)", ["Clip"]),
        (
            "m = ReduceMax<keepdims = 1>(x, last)\nd = Sub(x, m)\ne = Exp(d)\n"
            "s = ReduceSum<keepdims = 1>(e, last)\ny = Div(e, s)",
            ["Softmax"],
        ),
    ],
)
def test_patterns_become_one_op(body, expected) -> None:
    constants = {"slope": -np.abs(noise(3, 1, 1))} if "slope" in body else {}
    constants |= {"last": np.array([-1])} if "last" in body else {}
    assert ops(canonical(body, **constants)) == expected


LAYER_NORMS = {
    "pytorch": """m = ReduceMean<keepdims = 1>(x, axes)
        d = Sub(x, m)
        q = Pow(d, two)
        v = ReduceMean<keepdims = 1>(q, axes)
        w = Add(v, eps)
        s = Sqrt(w)
        n = Div(d, s)
        g = Mul(n, gamma)
        y = Add(g, beta)""",
    "reciprocal": """m = ReduceMean<keepdims = 1>(x, axes)
        d = Sub(x, m)
        q = Mul(d, d)
        v = ReduceMean<keepdims = 1>(q, axes)
        w = Add(v, eps)
        s = Sqrt(w)
        r = Reciprocal(s)
        n = Mul(d, r)
        g = Mul(gamma, n)
        y = Add(beta, g)""",
    "tensorflow": """m = ReduceMean<keepdims = 1>(x, axes)
        d = Sub(x, m)
        q = Mul(d, d)
        v = ReduceMean<keepdims = 1>(q, axes)
        w = Add(v, eps)
        s = Sqrt(w)
        r = Reciprocal(s)
        i = Mul(r, gamma)
        a = Mul(x, i)
        b = Mul(m, i)
        c = Sub(beta, b)
        y = Add(a, c)""",
}


@pytest.mark.parametrize("form", LAYER_NORMS)
@pytest.mark.parametrize("axes", [(-1,), (2, 3)])
def test_layer_normalization_is_recognized(form, axes) -> None:
    tail = SHAPE[-len(axes) :]
    after = canonical(LAYER_NORMS[form], axes=np.array(axes), gamma=noise(*tail), beta=noise(*tail, seed=1))
    assert ops(after) == ["LayerNormalization"]


def test_a_hard_sigmoid_behind_a_convolution_becomes_a_fusable_clip() -> None:
    after = canonical("t = Conv(x, w)\ny = HardSigmoid<alpha = 0.16666667, beta = 0.5>(t)", w=noise(4, 3, 1, 1))
    assert ops(after) == ["Conv", "Clip", "Mul"]
    assert [float(v.const_value.numpy()) for v in after.graph.node(1).inputs[1:]] == [0.0, 6.0]


@pytest.mark.parametrize(
    ("body", "shapes", "expected"),
    [
        ("y = MatMul(x, w)", {"w": (5, 4)}, ["Gemm"]),
        ("t = MatMul(x, w)\ny = Add(t, c)", {"w": (5, 4), "c": (4,)}, ["Gemm"]),
        ("t = MatMul(x, w)\ny = Add(c, t)", {"w": (5, 4), "c": (1, 4)}, ["Gemm"]),
        ("y = Gemm<alpha = 0.5, beta = 2.0>(x, w, c)", {"w": (5, 4), "c": (4,)}, ["Gemm"]),
        ("y = Gemm<transB = 1>(x, w, c)", {"w": (4, 5), "c": ()}, ["Gemm"]),
        ("y = Gemm<transB = 1, beta = 0.0>(x, w, c)", {"w": (4, 5), "c": (3, 4)}, ["Gemm"]),
        ("y = Gemm<beta = 0.5>(x, w, c)", {"w": (5, 4), "c": (3, 4)}, ["Gemm", "Add"]),
        ("y = Gemm<beta = 0.5>(x, w, c)", {"w": (5, 4), "c": (3, 1)}, ["Gemm", "Add"]),
        ("y = Gemm<transA = 1>(x, w, c)", {"w": (3, 4), "c": (1, 4)}, ["Transpose", "Gemm"]),
        ("r = Relu(x)\ny = Gemm<alpha = 2.0, transB = 1>(x, r)", {}, ["Transpose", "Relu", "MatMul", "Mul"]),
        ("r = Relu(x)\nz = Transpose(r)\ny = Gemm<alpha = 2.0, beta = 3.0>(x, z, c)", {"c": (3,)}, None),
        ("y = MatMul(w, x)", {"w": (4, 3)}, ["MatMul"]),
    ],
)
def test_fully_connected_layers_have_one_form(body, shapes, expected) -> None:
    after = canonical(body, shape=(3, 5), **{name: noise(*shape) for name, shape in shapes.items()})
    assert expected is None or ops(after) == expected


def test_a_product_of_higher_rank_keeps_its_form_and_takes_its_scale() -> None:
    after = canonical("t = MatMul(x, w)\nu = Mul(t, k)\ny = Add(u, k)", w=noise(5, 6), k=noise(6, seed=1))
    assert ops(after) == ["MatMul", "Add"]
