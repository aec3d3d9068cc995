import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from edgekit.passes.prune.groups import find_channel_groups
from tests.passes.prune.groups.graphs import find, graph, ints, labels, reasons, told
from tests.passes.prune.networks import Builder

TEXT = "(float[1,3,4,4] x) => (float[1,2,4,4] y) {{ a = Conv(x, w) n = {} y = Conv(n, v) }}"
WEIGHTS = {"w": (8, 3, 1, 1), "v": (2, 8, 1, 1)}


def test_the_constants_of_a_norm_go_with_its_channels() -> None:
    groups = find(TEXT.format("InstanceNormalization(a, s, b)"), **WEIGHTS, s=(8,), b=(8,))
    assert told(groups) == {"a": (8, 8, ["a"], ["y"])}
    assert labels(groups, "s", 0) == labels(groups, "b", 0) == list(range(8))


def test_batch_norm_that_was_not_folded() -> None:
    network = Builder(1, 3, 4, 4)
    a = network.conv("x", 8)
    model = network.plain(network.conv(network.relu(network.batch_norm(network.relu(a))), 2))
    (group,) = find_channel_groups(model).groups
    assert (group.channels, len(group.units)) == (8, 8)


@pytest.mark.parametrize(("count", "units"), [(4, 4), (8, 8)])
def test_whole_groups_of_a_group_norm(count: int, units: int) -> None:
    groups = find_channel_groups(_group_normed(count))
    assert [(group.channels, len(group.units)) for group in groups.groups] == [(8, units)]


def test_a_norm_over_all_channels_keeps_them() -> None:
    assert (
        "all of its channels could only be removed together" in reasons(find_channel_groups(_group_normed(1))).values()
    )


def _group_normed(count: int) -> ir.Model:
    network = Builder(1, 3, 4, 4)
    normed = network.op(
        "GroupNormalization", network.conv("x", 8), network.uniform(8), network.normal(8), num_groups=count
    )
    return network.plain(network.conv(normed, 2))


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("LRN <size = 3> (a)", "LRN 'n' divides each channel by its neighbours"),
        ("Softmax <axis = 1> (a)", "Softmax 'n' computes over its channels: removing one changes the others"),
        (
            "LpNormalization <axis = 1> (a)",
            "LpNormalization 'n' computes over its channels: removing one changes the others",
        ),
        ("CumSum(a, one)", "CumSum 'n' computes over its channels: removing one changes the others"),
        (
            "LayerNormalization <axis = 1> (a, t)",
            "LayerNormalization 'n' averages over its channels: removing one changes the others",
        ),
    ],
)
def test_what_computes_over_channels_keeps_them(expression: str, reason: str) -> None:
    groups = find(TEXT.format(expression), **WEIGHTS, one=ints(1), t=(8, 4, 4))
    assert told(groups) == {} and reasons(groups)["a"] == reason


@pytest.mark.parametrize(
    "expression",
    [
        "Softmax <axis = 2> (a)",
        "LpNormalization <axis = 3> (a)",
        "CumSum(a, two)",
        "LayerNormalization <axis = 2> (a, t)",
    ],
)
def test_over_pixels_channels_pass(expression: str) -> None:
    groups = find(TEXT.format(expression), **WEIGHTS, two=ints(2), t=(4, 4))
    assert told(groups) == {"a": (8, 8, ["a"], ["y"])}


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax", "ReduceProd", "ReduceLogSumExp", "ReduceSum", "ReduceL2"])
def test_reductions_over_pixels(op: str) -> None:
    groups = find(
        f"(float[1,3,4,4] x) => (float[1,2] y) {{ a = Conv(x, w) n = {op} <keepdims = 0> (a, axes) y = Gemm(n, u) }}",
        w=(8, 3, 1, 1),
        axes=ints(-1, 2),
        u=(8, 2),
    )
    assert told(groups) == {"a": (8, 8, ["a"], ["y"])}


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2"])
def test_sums_over_channels_do_not_miss_zeros(op: str) -> None:
    text = """(float[1,3,4,4] x) => (float[1,1,4,4] y) {
        a = Conv(x, w) s = FUNCTION(a) y = SUM <keepdims = 1> (s, one) }""".replace("SUM", op)
    assert told(find(text.replace("FUNCTION", "Relu"), w=(8, 3, 1, 1), one=ints(1))) == {"a": (8, 8, ["a"], [])}
    groups = find(text.replace("FUNCTION", "Sigmoid"), w=(8, 3, 1, 1), one=ints(1))
    assert told(groups) == {}
    assert reasons(groups)["a"] == f"{op} 'y' sums over it, and it is not exactly zero where it is removed"


def test_a_mean_over_channels_keeps_them() -> None:
    groups = find(
        "(float[1,3,4,4] x) => (float[1,1,4,4] y) { a = Conv(x, w) y = ReduceMean <keepdims = 1> (a, one) }",
        w=(8, 3, 1, 1),
        one=ints(1),
    )
    assert reasons(groups)["a"] == "ReduceMean 'y' reduces over its channels: removing one changes the result"


def test_argmax_and_topk() -> None:
    text = "(float[1,3,4,4] x) => (int64[1,4,4] y) { a = Conv(x, w) y = ArgMax <axis = 1, keepdims = 0> (a) }"
    assert "ArgMax 'y' computes over its channels" in reasons(find(text, w=(8, 3, 1, 1)))["a"]
    groups = find(
        """(float[1,3,4,4] x) => (float[1,2,4,2] y) {
            a = Conv(x, w) t, i = TopK <axis = 3> (a, two) y = Conv(t, v) }""",
        **WEIGHTS,
        two=ints(2),
    )
    assert told(groups) == {"a": (8, 8, ["a"], ["y"])}


def test_an_unknown_operator_keeps_what_it_reads() -> None:
    groups = find(
        "(float[1,3,4,4] x) => (float[1,2,4,4] y, int64[4,k] u) { a = Conv(x, w) u = NonZero(a) y = Conv(a, v) }",
        **WEIGHTS,
    )
    assert told(groups) == {}
    assert reasons(groups)["a"] == "NonZero 'u' reads it, and channels are not followed through NonZero"


def test_what_a_recurrent_layer_makes_stays() -> None:
    groups = find(
        """(float[5,1,3] x) => (float[5,1,2] y) {
            a = MatMul(x, w) h = GRU <hidden_size = 4> (a, k, r) s = Squeeze(h, one)
            b = MatMul(s, v) y = MatMul(b, u) }""",
        w=(3, 6),
        k=(1, 12, 6),
        r=(1, 12, 4),
        one=ints(1),
        v=(4, 8),
        u=(8, 2),
    )
    assert told(groups) == {"b": (8, 8, ["b"], ["y"])}
    assert reasons(groups)["a"] == "GRU 'h' reads it, and channels are not followed through GRU"


def test_what_a_branch_captures_stays() -> None:
    model = graph(
        """(float[1,3,4,4] x, bool c) => (float[1,2,4,4] y) {
            a = Conv(x, w) b = Conv(x, u) s = Add(x, x) y = Conv(b, v) }""",
        **WEIGHTS,
        u=(8, 3, 1, 1),
    )
    proto = ir.serde.serialize_model(model)
    branches = [
        helper.make_graph(
            [helper.make_node(op, ["a"], [f"{op}_out"])],
            op,
            [],
            [helper.make_tensor_value_info(f"{op}_out", onnx.TensorProto.FLOAT, [1, 8, 4, 4])],
        )
        for op in ("Relu", "Neg")
    ]
    node = helper.make_node("If", ["c"], ["z"], name="z", then_branch=branches[0], else_branch=branches[1])
    proto.graph.node.append(node)
    proto.graph.output.append(helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [1, 8, 4, 4]))
    groups = find_channel_groups(ir.serde.deserialize_model(proto))
    assert told(groups) == {"b": (8, 8, ["b"], ["y"])}
    assert reasons(groups)["a"] == "If 'z' reads it, and channels are not followed through If"


@pytest.mark.parametrize("output", ["m", "d"])
def test_the_other_outputs_of_a_layer_norm_have_its_channels(output: str) -> None:
    groups = find(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w) n, m, d = LayerNormalization <axis = 2> (a, t) s = Add(n, OTHER) y = Conv(s, v) }""".replace(
            "OTHER", output
        ),
        **WEIGHTS,
        t=(4, 4),
    )
    assert told(groups) == {"a": (8, 8, ["a"], ["y"])}
    assert labels(groups, output, 1) == list(range(8))
