from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.errors import EdgekitError
from edgekit.graph.cost import count_macs
from edgekit.passes.prune.branches import drop_branches, find_branches
from edgekit.passes.prune.groups import ChannelGroup, ChannelGroups, WeightUse, find_channel_groups
from edgekit.passes.prune.removal import remove
from tests.passes.prune.groups.graphs import graph, ints
from tests.passes.prune.networks import Builder, choose, difference, run, without_weights

ROUNDING = 1e-5
NO_GROUPS = ChannelGroups({}, 0, (), ())


def bottleneck(net: Builder, x: str) -> str:
    """What a residual block adds: expand, depthwise, project."""
    wide = net.relu(net.conv(x, 16))
    wide = net.relu(net.conv(wide, 16, 3, group=16))
    return net.conv(wide, net.shapes[x][1])


def residual() -> ir.Model:
    net = Builder(1, 3, 8, 8)
    x = net.conv("x", 8, 3)
    for _ in range(2):
        x = net.op("Add", bottleneck(net, x), x)
    return net.model(net.head(net.relu(x)))


def sums() -> ir.Model:
    """What old exporters write for an Add."""
    net = Builder(1, 3, 8, 8)
    x = net.conv("x", 8, 3)
    return net.model(net.head(net.relu(net.op("Sum", bottleneck(net, x), x))))


def two_convolutions() -> ir.Model:
    """A stage's first block: both terms have weights."""
    net = Builder(1, 3, 8, 8)
    x = net.relu(net.conv("x", 8, 3))
    return net.model(net.head(net.op("Add", net.conv(x, 12), net.conv(net.relu(net.conv(x, 8)), 12, 3))))


def layer_scale() -> ir.Model:
    """A ConvNeXt block: channels last, with a bias behind the product, and a scale."""
    net = Builder(1, 3, 8, 8)
    x = net.conv("x", 8, 3)
    last = net.op("Transpose", net.conv(x, 8, 3, group=8), perm=[0, 2, 3, 1])
    last = net.linear(net.op("Gelu", net.linear(last, 16)), 8)
    branch = net.op("Transpose", net.op("Mul", last, net.uniform(8)), perm=[0, 3, 1, 2])
    return net.model(net.head(net.relu(net.op("Add", x, branch))))


def excited() -> ir.Model:
    """A squeeze-excite product ends the branch."""
    net = Builder(1, 3, 8, 8)
    x = net.conv("x", 8, 3)
    return net.model(net.head(net.relu(net.op("Add", net.squeeze_excite(bottleneck(net, x), 4), x))))


def transformer() -> ir.Model:
    net = Builder(1, 3, 4, 4)
    tokens = net.op("Transpose", net.reshape(net.conv("x", 8), 1, 8, 16), perm=[0, 2, 1])
    tokens = net.op("Add", tokens, net.attention(tokens, 2, 4))
    tokens = net.op("Add", tokens, net.linear(net.op("Gelu", net.linear(tokens, 16)), 8))
    return net.model(net.gemm(net.op("Flatten", tokens), 5))


def output_sum() -> ir.Model:
    """The sum itself is an output of the model, and so is a value before it."""
    net = Builder(1, 3, 8, 8)
    x = net.relu(net.conv("x", 8, 3))
    return net.model(net.op("Add", bottleneck(net, x), x), x)


NETWORKS: dict[Callable[[], ir.Model], int] = {
    residual: 2,
    sums: 1,
    two_convolutions: 2,
    layer_scale: 1,
    excited: 1,
    transformer: 2,
    output_sum: 1,
}


@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_a_dropped_branch_equals_one_with_zero_weights(build: Callable[[], ir.Model]) -> None:
    model = build()
    branches = find_branches(model, NO_GROUPS)
    assert len(branches) == NETWORKS[build]
    for branch in branches:
        smaller = drop_branches(model, [branch])
        zeroed = run(without_weights(model, [branch]))
        assert difference(zeroed, run(smaller)) < ROUNDING
        assert difference(run(model), zeroed) > 100 * ROUNDING
        assert not {node.name for node in smaller.graph} & {*branch.nodes, branch.add}
        assert count_macs(smaller) < count_macs(model)
        assert [value.name for value in smaller.graph.outputs] == [value.name for value in model.graph.outputs]


def test_what_a_branch_is_made_of() -> None:
    model = residual()
    branch = find_branches(model, NO_GROUPS)[0]
    names = [node.name for node in model.graph]
    assert branch.add == "n6_Add"
    assert branch.name == branch.last == "n5_Conv"
    assert branch.nodes == set(names[names.index("n1_Conv") : names.index("n6_Add")])
    last = next(node for node in model.graph if node.name == branch.last)
    assert branch.weights == (last.inputs[1].name, last.inputs[2].name)


def test_all_branches_at_once() -> None:
    model = residual()
    branches = find_branches(model, NO_GROUPS)
    smaller = drop_branches(model, branches)
    assert difference(run(without_weights(model, branches)), run(smaller)) < ROUNDING
    assert not any(node.op_type == "Add" for node in smaller.graph)


def test_one_term_of_a_sum_stays() -> None:
    model = two_convolutions()
    with pytest.raises(EdgekitError, match="keep one"):
        drop_branches(model, find_branches(model, NO_GROUPS))


def test_a_branch_inside_a_branch() -> None:
    net = Builder(1, 3, 8, 8)
    x = net.conv("x", 8, 3)
    deep = net.conv(x, 8)
    inner = net.op("Add", bottleneck(net, deep), deep)
    model = net.model(net.head(net.relu(net.op("Add", net.conv(net.relu(inner), 8), x))))
    inside, outside = find_branches(model, NO_GROUPS)
    assert inside.nodes < outside.nodes and inside.add in outside.nodes
    for both in ([inside, outside], [outside, inside]):
        assert difference(run(without_weights(model, [outside])), run(drop_branches(model, both))) < ROUNDING


def test_what_is_no_branch() -> None:
    net = Builder(1, 3, 8, 8)
    x = net.relu(net.conv("x", 8, 3))
    read_twice = net.conv(x, 8)
    broadcast = net.conv(net.op("GlobalAveragePool", x), 8)
    not_zero = net.op("Sigmoid", net.conv(x, 8))
    weight = net.weight(8, 8, 1, 1)
    shared = net.op("Conv", x, weight)
    y = net.op("Add", x, read_twice)
    y = net.op("Add", net.relu(y), broadcast)
    y = net.op("Add", net.relu(y), not_zero)
    y = net.op("Add", net.relu(y), shared)
    y = net.op("Add", net.relu(y), read_twice)
    y = net.op("Add", net.op("Conv", net.relu(y), weight), y)
    bias = net.reshape(net.op("GlobalAveragePool", x), 8)
    y = net.op("Add", net.op("Conv", net.relu(y), net.weight(8, 8, 1, 1), bias), y)
    assert find_branches(net.model(net.head(net.relu(y))), NO_GROUPS) == ()


def test_clips_that_keep_zero() -> None:
    for low, count in ((0.0, 1), (0.5, 0)):
        net = Builder(1, 3, 8, 8)
        x = net.relu(net.conv("x", 8, 3))
        branch = net.op("Clip", net.conv(x, 8), net.constant(np.float32(low)), net.constant(np.float32(6)))
        assert len(find_branches(net.model(net.head(net.relu(net.op("Add", x, branch)))), NO_GROUPS)) == count


QUOTIENTS = {
    "norm": ("n = ReduceL2(c, axes) q = Div(c, n)", False),
    "itself": ("n = Abs(c) q = Div(c, n)", False),
    "reciprocal": ("n = ReduceL2(c, axes) r = Reciprocal(n) q = Mul(c, r)", False),
    "negative power": ("n = ReduceL2(c, axes) r = Pow(n, minus) q = Mul(c, r)", False),
    "logarithm": ("n = ReduceL2(c, axes) r = Log(n) q = Mul(c, r)", False),
    "a constant that is zeroed": ("s = Add(c, scale) q = Div(s, scale)", False),
    "constant": ("q = Div(c, scale)", True),
    "square": ("r = Pow(c, two) q = Mul(c, r)", True),
    "norm of what enters": ("n = ReduceL2(x, axes) q = Div(c, n)", True),
    "norm before the last weight": ("n = ReduceL2(c, axes) d = Div(c, n) q = Conv(d, w2, b2)", True),
}


@pytest.mark.parametrize("case", QUOTIENTS)
def test_zeros_are_not_divided_by_zeros(case: str) -> None:
    text, droppable = QUOTIENTS[case]
    model = graph(
        f"(float[1,3,8,8] x) => (float[1,3,8,8] y) {{ c = Conv(x, w, b) {text} y = Add(x, q) }}",
        w=(3, 3, 1, 1),
        w2=(3, 3, 1, 1),
        b=(3,),
        b2=(3,),
        scale=(3, 1, 1),
        axes=ints(1),
        two=np.float32(2),
        minus=np.float32(-0.5),
    )
    branches = find_branches(model, NO_GROUPS)
    assert len(branches) == droppable
    for branch in branches:
        zeroed = run(without_weights(model, [branch]))
        assert np.isfinite(zeroed).all()
        assert difference(zeroed, run(drop_branches(model, [branch]))) < ROUNDING


def test_groups_that_live_inside() -> None:
    """Of the hidden channels of the branch and those of the sum only the former go with it."""
    net = Builder(1, 3, 8, 8)
    x = net.conv("x", 8, 3)
    hidden = net.conv(x, 4)
    branch = net.conv(hidden, 8)
    total = net.op("Add", branch, x)
    y = net.conv(total, 2)
    inner, outer = np.arange(4), 4 + np.arange(8)
    axes = {("c2", 0): inner, ("c3", 0): inner, (hidden, 1): inner, ("c4", 1): inner}
    axes |= {(name, 0): outer for name in ("c0", "c1", "c4", "c5")} | {("c6", 1): outer, ("c2", 1): outer}
    axes |= {(name, 1): outer for name in (x, branch, total)}
    groups = ChannelGroups(
        axes,
        12,
        (
            ChannelGroup("stream", tuple(outer), 8, (WeightUse("n0_Conv", "c0", 0),), (WeightUse("n4_Conv", "c6", 1),)),
            ChannelGroup("hidden", tuple(inner), 4, (WeightUse("n1_Conv", "c2", 0),), (WeightUse("n2_Conv", "c4", 1),)),
        ),
        (),
    )
    model = net.plain(y)
    (found,) = (each for each in find_branches(model, groups) if each.name == "n2_Conv")
    assert found.groups == {"hidden"}


@pytest.mark.parametrize("build", [residual, layer_scale, excited, transformer], ids=lambda build: build.__name__)
def test_channels_go_from_what_is_left(build: Callable[[], ir.Model]) -> None:
    model = build()
    groups = find_channel_groups(model)
    branch = find_branches(model, groups)[0]
    assert branch.groups
    goes = choose(groups, np.random.default_rng(1), 0.4)
    one = run(remove(drop_branches(model, [branch]), groups, goes))
    other = run(remove(without_weights(model, [branch]), groups, goes))
    assert difference(other, one) < ROUNDING
