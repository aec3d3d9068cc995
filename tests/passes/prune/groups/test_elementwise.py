import numpy as np
import pytest

from edgekit.passes.prune.groups import find_channel_groups
from tests.passes.prune.groups.graphs import find, graph, ints, labels, reasons, told


def test_a_residual_sum_is_one_group_of_all_its_terms() -> None:
    groups = find(
        """(float[1,3,6,6] x) => (float[1,2,6,6] y) {
            a = Conv(x, w) r = Relu(a) b = Conv(r, v) s = Add(b, a) c = Conv(s, u) t = Add(c, s) y = Conv(t, q) }""",
        w=(8, 3, 1, 1),
        v=(8, 8, 1, 1),
        u=(8, 8, 1, 1),
        q=(2, 8, 1, 1),
    )
    assert told(groups) == {"a": (8, 8, ["a", "b", "c"], ["b", "c", "y"])}


def test_a_value_may_be_added_to_itself() -> None:
    groups = find(
        "(float[1,3,6,6] x) => (float[1,2,6,6] y) { a = Conv(x, w) s = Add(a, a) y = Conv(s, q) }",
        w=(8, 3, 1, 1),
        q=(2, 8, 1, 1),
    )
    assert told(groups) == {"a": (8, 8, ["a"], ["y"])}


def test_a_sum_with_the_models_input_stays() -> None:
    groups = find(
        "(float[1,3,6,6] x) => (float[1,2,6,6] y) { a = Conv(x, w) s = Add(a, x) y = Conv(s, q) }",
        w=(3, 3, 1, 1),
        q=(2, 3, 1, 1),
    )
    assert told(groups) == {}
    assert reasons(groups)["a"] == "Add 's' combines it with the model's input 'x'"


def test_squeeze_excite_keeps_the_gate_with_what_it_scales() -> None:
    groups = find(
        """(float[1,3,6,6] x) => (float[1,2,6,6] y) {
            a = Conv(x, w) p = GlobalAveragePool(a) s = Conv(p, u, b) r = Relu(s) e = Conv(r, v, c) g = Sigmoid(e)
            m = Mul(a, g) y = Conv(m, q) }""",
        w=(8, 3, 1, 1),
        u=(4, 8, 1, 1),
        b=(4,),
        v=(8, 4, 1, 1),
        c=(8,),
        q=(2, 8, 1, 1),
    )
    assert told(groups) == {"a": (8, 8, ["a", "e"], ["s", "y"]), "s": (4, 4, ["s"], ["e"])}


@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 1, 1), (1, 4, 6, 6), (1,), (), (6,), (6, 6)])
@pytest.mark.parametrize("op", ["Add", "Mul", "Sub", "Div", "Max", "Min", "Pow", "PRelu"])
def test_constants_follow_whatever_their_shape(op: str, shape: tuple[int, ...]) -> None:
    text = "(float[1,3,6,6] x) => (float[1,2,6,6] y) {{ a = Conv(x, w) r = Relu(a) s = {}(r, c) y = Conv(s, q) }}"
    constant = np.abs(np.random.default_rng(0).normal(size=shape)).astype(np.float32) + 0.5
    groups = find(text.format(op), w=(4, 3, 1, 1), q=(2, 4, 1, 1), c=constant)
    assert told(groups) == {"a": (4, 4, ["a"], ["y"])}
    axis = len(shape) - 3
    followed = axis >= 0 and shape[axis] == 4
    assert (("c", axis) in groups.axes) == followed
    assert ("c" in groups.unzeroed) == (followed and op in ("Div", "Pow"))


def test_a_constant_on_the_left_is_divided() -> None:
    text = "(float[1,3,6,6] x) => (float[1,2,6,6] y) { a = Conv(x, w) r = Sigmoid(a) s = Div(c, r) y = Conv(s, q) }"
    assert told(find(text, w=(4, 3, 1, 1), q=(2, 4, 1, 1), c=(4, 1, 1))) == {"a": (4, 4, ["a"], ["y"])}


def test_what_would_divide_by_zero_stays() -> None:
    text = "(float[1,3,6,6] x) => (float[1,2,6,6] y) {{ a = Conv(x, w) s = {} y = Conv(s, q) }}"
    for expression in ("Div(c, a)", "Reciprocal(a)", "Log(a)", "Pow(a, minus)"):
        model = graph(text.format(expression), w=(4, 3, 1, 1), q=(2, 4, 1, 1), c=(4, 1, 1), minus=np.float32(-1))
        groups = find_channel_groups(model)
        assert told(groups) == {}
        assert "would divide by zero where it is removed" in reasons(groups)["a"]


def test_a_constant_of_two_layers_ties_them() -> None:
    groups = find(
        """(float[1,3,6,6] x) => (float[1,2,6,6] y) {
            a = Conv(x, w) s = Mul(a, c) b = Conv(s, v) t = Mul(b, c) y = Conv(t, q) }""",
        w=(4, 3, 1, 1),
        v=(4, 4, 1, 1),
        q=(2, 4, 1, 1),
        c=(4, 1, 1),
    )
    assert told(groups) == {"a": (4, 4, ["a", "b"], ["b", "y"])}


def test_a_map_of_one_channel_does_not_matter() -> None:
    groups = find(
        """(float[1,3,6,6] x) => (float[1,2,6,6] y) {
            a = Conv(x, w) m = ReduceMean <keepdims = 1> (x, one) g = Sigmoid(m) s = Mul(g, a) y = Conv(s, q) }""",
        w=(4, 3, 1, 1),
        q=(2, 4, 1, 1),
        one=ints(1),
    )
    assert told(groups) == {"a": (4, 4, ["a"], ["y"])}


def test_where_and_comparisons_tie_channels() -> None:
    groups = find(
        """(float[1,3,6,6] x) => (float[1,2,6,6] y) {
            a = Conv(x, w) b = Conv(x, v) g = Greater(a, b) s = Where(g, a, c) y = Conv(s, q) }""",
        w=(4, 3, 1, 1),
        v=(4, 3, 1, 1),
        q=(2, 4, 1, 1),
        c=(4, 1, 1),
    )
    assert told(groups) == {"a": (4, 4, ["a", "b"], ["y"])}


def test_an_outer_product_of_constants_can_be_added_to_channels() -> None:
    groups = find(
        """(float[1,3] x) => (float[1,2] y) {
            m = ReduceMean <keepdims = 1> (x, one) o = Mul(m, c) a = MatMul(x, w) s = Add(o, a) y = MatMul(s, q) }""",
        one=ints(1),
        c=(1, 4),
        w=(3, 4),
        q=(4, 2),
    )
    assert told(groups) == {"a": (4, 4, ["a"], ["y"])}
    assert labels(groups, "c", 1) == [0, 1, 2, 3]


@pytest.mark.parametrize("op", ["Relu", "Sigmoid", "HardSwish", "Exp", "Softplus", "Clip", "Identity", "Cos", "Gelu"])
def test_functions_of_one_channel(op: str) -> None:
    text = f"(float[1,3,6,6] x) => (float[1,2,6,6] y) {{ a = Conv(x, w) s = {op}(a) y = Conv(s, q) }}"
    assert told(find(text, w=(4, 3, 1, 1), q=(2, 4, 1, 1))) == {"a": (4, 4, ["a"], ["y"])}


@pytest.mark.parametrize("role", ["Mul(s, c)", "Mul(c, s)", "Where(g, z, c)"])
def test_a_divisor_is_never_taken_for_zero(role: str) -> None:
    text = """(float[1,3,6,6] x) => (float[1,6,6] y, float[1,2,6,6] o) {
        a = Conv(x, w) z = Relu(a) s = Sigmoid(a) g = Greater(a, s) m = ROLE y = ReduceSum <keepdims = 0> (m, one)
        d = Div(z, e) o = Conv(d, q) }""".replace("ROLE", role)
    constants = {"w": (4, 3, 1, 1), "q": (2, 4, 1, 1), "c": (1, 4, 1, 1), "e": (1, 4, 1, 1), "one": ints(1)}
    assert told(find(text, **constants)) == {"a": (4, 4, ["a"], ["o"])}
    groups = find(text.replace("Div(z, e)", "Div(z, c)"), **constants)
    assert reasons(groups)["a"] == "ReduceSum 'y' sums over it, and it is not exactly zero where it is removed"


def test_a_divisor_that_was_subtracted_before() -> None:
    groups = find(
        """(float[1,3,6,6] x) => (float[1,2,6,6] y) {
            a = Conv(x, w) t = Mul(a, c) u = Div(t, c) s = Sub(u, c) q = ReduceSumSquare <keepdims = 1> (s, one)
            m = Mul(s, q) y = Conv(m, v) }""",
        w=(8, 3, 1, 1),
        c=(8, 1, 1),
        one=ints(1),
        v=(2, 8, 1, 1),
    )
    assert told(groups) == {}


def test_weights_that_are_divided_by_stay() -> None:
    text = "(float[4,4,1,1] x) => (float[4,4,1,1] y) { a = Conv(x, w) b = Conv(a, v) d = Div(b, c) y = Conv(d, q) }"
    constants = {"w": (4, 4, 1, 1), "v": (4, 4, 1, 1), "c": (4, 4, 1, 1), "q": (4, 4, 1, 1)}
    assert set(told(find(text, **constants))) == {"a", "b"}
    groups = find(text.replace("Div(b, c)", "Div(b, v)"), **constants)
    assert reasons(groups)["b"] == "something is divided by 'v', so it is never set to zero"
