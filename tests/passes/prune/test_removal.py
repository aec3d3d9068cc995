"""Smaller graphs compute what graphs with zeros in the same places compute: op by op with labels given by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.errors import EdgekitError
from edgekit.graph.queries import attribute, constant_value, shape_of
from edgekit.importers import import_model
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.prune.groups import ChannelGroups, find_channel_groups
from edgekit.passes.prune.removal import remove, zero
from tests.passes.prune.networks import Array, Builder, choose, difference, run

ROUNDING = 1e-5
"""Sums of other lengths are added in another order; these networks have a few layers."""

CHANNELS = 8
OwnLabels = Callable[[Builder, str, Array], tuple[str, Array]]


def labelled(*values: tuple[str, int, Array]) -> ChannelGroups:
    """Units along axes, as (value, axis, units)."""
    axes = {(name, axis): np.asarray(units, dtype=np.intp) for name, axis, units in values}
    return ChannelGroups(axes, CHANNELS, (), ())


def slice_op(start: int, end: int, step: int) -> OwnLabels:
    def build(net: Builder, x: str, units: Array) -> tuple[str, Array]:
        ints = net.ints
        return net.op("Slice", x, ints(start), ints(end), ints(1), ints(step)), units[start:end:step]

    return build


def gather_op(net: Builder, x: str, units: Array) -> tuple[str, Array]:
    order = np.array([5, 0, 7, 2, 2, 3])
    return net.op("Gather", x, net.ints(*order), axis=1), units[order]


def pad_op(begin: int, end: int, *, all_axes: bool) -> OwnLabels:
    def build(net: Builder, x: str, units: Array) -> tuple[str, Array]:
        zero = net.constant(np.float32(0))
        if all_axes:
            padded = net.op("Pad", x, net.ints(0, begin, 0, 0, 0, end, 0, 0), zero)
        else:
            padded = net.op("Pad", x, net.ints(begin, 1, end, 1), zero, net.ints(1, -1))
        inside = units[max(-begin, 0) : len(units) - max(-end, 0)]
        # Padding that shall go with units 0 and 1.
        return padded, np.concatenate([[0, 1][: max(begin, 0)], inside, [1, 0][: max(end, 0)]])

    return build


def tile_op(net: Builder, x: str, units: Array) -> tuple[str, Array]:
    return net.op("Tile", x, net.ints(1, 2, 1, 1)), np.tile(units, 2)


def expand_op(net: Builder, x: str, units: Array) -> tuple[str, Array]:
    return net.op("Expand", net.op("GlobalAveragePool", x), net.ints(CHANNELS, 6, 1)), units


def resize_op(net: Builder, x: str, units: Array) -> tuple[str, Array]:
    empty = net.constant(np.zeros(0, dtype=np.float32))
    return net.op("Resize", x, "", empty, net.ints(1, CHANNELS, 12, 6), mode="nearest"), units


def resize_axes_op(net: Builder, x: str, units: Array) -> tuple[str, Array]:
    empty = net.constant(np.zeros(0, dtype=np.float32))
    return net.op("Resize", x, "", empty, net.ints(12, CHANNELS), mode="nearest", axes=[2, 1]), units


CASES: dict[str, OwnLabels] = {
    "every second": slice_op(1, 8, 2),
    "the first half": slice_op(0, 4, 1),
    "from behind": slice_op(-1, -(10**6), -1),
    "gather": gather_op,
    "padded channels": pad_op(2, 1, all_axes=True),
    "cut channels": pad_op(-1, -2, all_axes=False),
    "tile": tile_op,
    "expand": expand_op,
    "resize": resize_op,
    "resize of some axes": resize_axes_op,
}


@pytest.mark.parametrize("removed", [[0], [1, 2, 6], [0, 4, 5, 7]], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_op_gets_smaller(case: str, removed: list[int]) -> None:
    net = Builder(1, 3, 6, 6)
    x = net.conv("x", CHANNELS, 3)
    first = net.nodes[-1].input
    units = np.arange(CHANNELS)
    start = len(net.nodes)
    y, made = CASES[case](net, x, units)
    inner = [(output, 1, made if output == y else units) for node in net.nodes[start:] for output in node.output]
    z = net.conv(y, 4)
    groups = labelled(
        *((first[1], 0, units), (first[2], 0, units), (x, 1, units), *inner, (net.nodes[-1].input[1], 1, made))
    )
    model = net.plain(z)
    goes = np.isin(units, removed)
    smaller = remove(model, groups, goes)
    assert shape_of(value(smaller, y))[1] == int((~np.isin(made, removed)).sum())
    zeroed = run(zero(model, groups, goes))
    assert difference(zeroed, run(smaller)) < ROUNDING
    assert difference(run(model), zeroed) > 100 * ROUNDING or not np.isin(made, removed).any()


def value(model: ir.Model, name: str) -> ir.Value:
    return next(output for node in model.graph for output in node.outputs if output.name == name)


def node(model: ir.Model, op_type: str) -> ir.Node:
    return next(node for node in model.graph if node.op_type == op_type)


def chain(net: Builder) -> tuple[str, ChannelGroups]:
    """Two convolutions, and the labels of what is between them."""
    units = np.arange(CHANNELS)
    x = net.conv("x", CHANNELS, 3)
    made = net.nodes[-1].input
    y = net.conv(x, 4)
    labels = labelled((made[1], 0, units), (made[2], 0, units), (x, 1, units), (net.nodes[-1].input[1], 1, units))
    return y, labels


def test_weights_shrink_and_names_stay() -> None:
    net = Builder(1, 3, 6, 6)
    y, groups = chain(net)
    model = net.plain(y)
    smaller = remove(model, groups, np.arange(CHANNELS) % 2 == 0)
    shapes = {name: shape_of(initializer) for name, initializer in smaller.graph.initializers.items()}
    assert shapes == {"c0": (4, 3, 3, 3), "c1": (4,), "c2": (4, 4, 1, 1), "c3": (4,)}
    assert [each.name for each in smaller.graph] == [each.name for each in model.graph]
    weight, whole = constant_value(smaller.graph.initializers["c2"]), constant_value(model.graph.initializers["c2"])
    assert whole is not None
    np.testing.assert_array_equal(weight, whole[:, 1::2])


def test_the_given_model_stays() -> None:
    net = Builder(1, 3, 6, 6)
    y, groups = chain(net)
    model = net.plain(y)
    before = run(model)
    goes = np.arange(CHANNELS) < 3
    remove(model, groups, goes)
    zero(model, groups, goes)
    np.testing.assert_array_equal(run(model)[0], before[0])
    assert shape_of(model.graph.initializers["c0"]) == (CHANNELS, 3, 3, 3)


def test_nothing_removed_changes_nothing() -> None:
    net = Builder(1, 3, 6, 6)
    y, groups = chain(net)
    model = net.plain(y)
    np.testing.assert_array_equal(run(remove(model, groups, np.zeros(CHANNELS, dtype=bool)))[0], run(model)[0])


def test_nothing_left_is_refused() -> None:
    net = Builder(1, 3, 6, 6)
    y, groups = chain(net)
    with pytest.raises(EdgekitError, match="keep at least one"):
        remove(net.plain(y), groups, np.ones(CHANNELS, dtype=bool))


def test_wrong_labels_are_found() -> None:
    net = Builder(1, 3, 6, 6)
    y, groups = chain(net)
    wrong = {key: units for key, units in groups.axes.items() if key[0] not in ("c0", "c1")}
    with pytest.raises(EdgekitError, match="the channel groups are wrong"):
        remove(net.plain(y), ChannelGroups(wrong, CHANNELS, (), ()), np.arange(CHANNELS) < 3)


def test_outputs_keep_their_shapes() -> None:
    net = Builder(1, 3, 6, 6)
    x = net.conv("x", CHANNELS, 3)
    units = np.arange(CHANNELS)
    groups = labelled(("c0", 0, units), ("c1", 0, units), (x, 1, units))
    with pytest.raises(EdgekitError, match="would change its shape"):
        remove(net.plain(x), groups, units < 3)


def test_values_that_are_not_there_are_passed_over() -> None:
    net = Builder(1, 3, 6, 6)
    y, groups = chain(net)
    more = {**groups.axes, ("elsewhere", 1): np.arange(CHANNELS)}
    smaller = remove(net.plain(y), ChannelGroups(more, CHANNELS, (), ()), np.arange(CHANNELS) < 3)
    assert shape_of(smaller.graph.initializers["c0"])[0] == CHANNELS - 3


def test_split_sizes_follow() -> None:
    net = Builder(1, 3, 6, 6)
    units = np.arange(CHANNELS)
    x = net.conv("x", CHANNELS, 3)
    left, right = net.op("Split", x, outputs=2, axis=-3, num_outputs=2)
    one, other = net.conv(left, 4), net.conv(right, 4)
    y = net.op("Add", one, other)
    groups = labelled(
        *(("c0", 0, units), ("c1", 0, units), (x, 1, units), (left, 1, units[:4]), (right, 1, units[4:])),
        *(("c2", 1, units[:4]), ("c4", 1, units[4:])),
    )
    model = net.plain(y)
    goes = np.isin(units, [0, 1, 6])
    smaller = remove(model, groups, goes)
    sizes = constant_value(node(smaller, "Split").inputs[1])
    assert sizes is not None and sizes.tolist() == [2, 3]
    assert difference(run(zero(model, groups, goes)), run(smaller)) < ROUNDING


def test_a_shared_shape_becomes_two() -> None:
    net = Builder(1, 3, 4, 4)
    units = np.arange(CHANNELS)
    x = net.conv("x", CHANNELS)
    flat = net.op("Reshape", x, shared := net.ints(1, -1))
    y = net.gemm(flat, 4)
    z = net.op("Reshape", "x", shared)
    groups = labelled(
        *(("c0", 0, units), ("c1", 0, units), (x, 1, units)),
        *((flat, 1, np.repeat(units, 16)), ("c3", 1, np.repeat(units, 16))),
    )
    model = net.plain(y, z)
    goes = units < 3
    smaller = remove(model, groups, goes)
    assert [shape_of(output) for output in smaller.graph.outputs] == [(1, 4), (1, 48)]
    assert difference(run(zero(model, groups, goes)), run(smaller)) < ROUNDING


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_convolutions_have_fewer_groups(multiplier: int) -> None:
    net = Builder(1, 3, 6, 6)
    units = np.arange(CHANNELS)
    more = np.repeat(units, multiplier)
    x = net.conv("x", CHANNELS, 3)
    y = net.conv(x, multiplier * CHANNELS, 3, group=CHANNELS)
    z = net.conv(y, 4)
    groups = labelled(
        *(("c0", 0, units), ("c1", 0, units), (x, 1, units), ("c2", 0, more), ("c3", 0, more), (y, 1, more)),
        ("c4", 1, more),
    )
    model = net.plain(z)
    smaller = remove(model, groups, units < 3)
    assert [attribute(each, "group") for each in smaller.graph] == [1, CHANNELS - 3, 1]
    assert difference(run(zero(model, groups, units < 3)), run(smaller)) < ROUNDING


@pytest.mark.parametrize("channels", [2, 8])
def test_transposed_convolutions_have_fewer_groups(channels: int) -> None:
    """Of 2 in each block the second goes; of 1 in each block, some blocks."""
    net = Builder(1, 3, 6, 6)
    x = net.conv("x", 4 if channels == 2 else CHANNELS, 3)
    y = net.conv_transpose(x, 8, group=4 if channels == 2 else CHANNELS)
    z = net.conv(y, 4)
    if channels == 2:
        units = np.tile([0, 1], 4)
        groups = labelled(("c2", 1, units[:2]), ("c3", 0, units), (y, 1, units), ("c4", 1, units))
    else:
        units = np.arange(CHANNELS)
        groups = labelled(
            *(("c0", 0, units), ("c1", 0, units), (x, 1, units), ("c2", 0, units), ("c3", 0, units), (y, 1, units)),
            ("c4", 1, units),
        )
    model = net.plain(z)
    goes = np.arange(CHANNELS) == 1
    smaller = remove(model, groups, goes)
    assert attribute(node(smaller, "ConvTranspose"), "group") == (4 if channels == 2 else CHANNELS - 1)
    zeroed = run(zero(model, groups, goes))
    assert difference(zeroed, run(smaller)) < ROUNDING
    assert difference(run(model), zeroed) > 100 * ROUNDING


def test_group_normalization_loses_groups() -> None:
    net = Builder(1, 3, 6, 6)
    units = np.repeat(np.arange(4), 2)
    x = net.conv("x", 8, 3)
    y = net.op("GroupNormalization", x, net.uniform(8), net.normal(8), num_groups=4)
    z = net.conv(y, 4)
    inside = [(name, 0, units) for name in ("c0", "c1", "c2", "c3")]
    groups = labelled(*inside, (x, 1, units), (y, 1, units), ("c4", 1, units))
    model = net.plain(z)
    goes = np.arange(CHANNELS) == 1
    smaller = remove(model, groups, goes)
    assert attribute(node(smaller, "GroupNormalization"), "num_groups") == 3
    assert difference(run(zero(model, groups, goes)), run(smaller)) < ROUNDING


def test_divisors_are_not_zeroed() -> None:
    net = Builder(1, 3, 4, 4)
    units = np.arange(CHANNELS)
    x = net.conv("x", CHANNELS)
    divided = net.op("Div", x, divisor := net.uniform(CHANNELS, 1, 1))
    y = net.conv(divided, 4)
    constants = ("c0", 0, units), ("c1", 0, units), (divisor, 0, units), (net.nodes[-1].input[1], 1, units)
    groups = replace(labelled(*constants, (x, 1, units), (divided, 1, units)), unzeroed=frozenset([divisor]))
    model = net.plain(y)
    zeroed = run(zero(model, groups, units < 3))
    assert np.isfinite(zeroed[0]).all()
    assert difference(zeroed, run(remove(model, groups, units < 3))) < ROUNDING


def se_block() -> ir.Model:
    net = Builder(1, 3, 8, 8)
    x = net.squeeze_excite(net.relu(net.conv("x", 16, 3)), 8)
    return net.model(net.head(net.conv(x, 12)))


def shufflenet_unit() -> ir.Model:
    net = Builder(1, 3, 8, 8)
    x = net.relu(net.conv("x", 16, 3))
    branch = net.shuffle(net.relu(net.conv(x, 16, group=2)), 2)
    branch = net.conv(net.conv(branch, 16, 3, group=16), 16, group=2)
    return net.model(net.head(net.op("Add", x, branch)))


def attention_block() -> ir.Model:
    net = Builder(1, 3, 4, 4)
    tokens = net.op("Transpose", net.reshape(net.conv("x", 16), 1, 16, 16), perm=[0, 2, 1])
    mixed = net.op("Add", tokens, net.attention(tokens, 4, 4))
    back = net.reshape(net.op("Transpose", mixed, perm=[0, 2, 1]), 1, 16, 4, 4)
    return net.model(net.head(back))


def pixel_shuffle() -> ir.Model:
    net = Builder(1, 3, 8, 8)
    x = net.op("DepthToSpace", net.relu(net.conv("x", 32, 3)), blocksize=2, mode="CRD")
    return net.model(net.conv(x, 3, 3))


def dense_block() -> ir.Model:
    net = Builder(1, 3, 8, 8)
    x = net.conv("x", 16, 3)
    for _ in range(3):
        new = net.conv(net.relu(net.conv(net.relu(net.batch_norm(x)), 16)), 8, 3)
        x = net.op("Concat", x, new, axis=1)
    return net.model(net.head(net.relu(net.batch_norm(x))))


def grouped() -> ir.Model:
    net = Builder(1, 3, 8, 8)
    x = net.relu(net.conv(net.relu(net.conv("x", 32, 3)), 32, 3, group=8))
    return net.model(net.head(net.relu(net.conv(x, 16, 3, group=2))))


def unet() -> ir.Model:
    net = Builder(1, 3, 8, 8)
    top = net.relu(net.conv("x", 12, 3))
    deep = net.relu(net.conv(net.op("MaxPool", top, kernel_shape=[2, 2], strides=[2, 2]), 16, 3))
    joined = net.op("Concat", net.conv_transpose(deep, 12), top, axis=1)
    return net.model(net.conv(net.relu(net.conv(joined, 12, 3)), 2))


def flat() -> ir.Model:
    net = Builder(1, 3, 8, 8)
    x = net.op("Flatten", net.op("AveragePool", net.relu(net.conv("x", 16, 3)), kernel_shape=[2, 2], strides=[2, 2]))
    return net.model(net.gemm(net.relu(net.gemm(x, 24)), 5))


NETWORKS = [se_block, shufflenet_unit, attention_block, pixel_shuffle, dense_block, grouped, unet, flat]


@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_removed_equals_zeroed(build: Callable[[], ir.Model]) -> None:
    model = build()
    groups = find_channel_groups(model)
    assert groups.groups
    for seed in range(4):
        goes = choose(groups, np.random.default_rng(seed), 0.4)
        zeroed = run(zero(model, groups, goes))
        assert difference(zeroed, run(remove(model, groups, goes))) < ROUNDING
        assert difference(run(model), zeroed) > 100 * ROUNDING


@pytest.mark.parametrize("build", [se_block, dense_block, unet], ids=lambda build: build.__name__)
def test_a_wrong_label_shows(build: Callable[[], ir.Model]) -> None:
    """Whichever weight's units are shifted by one, zeroed and removed differ: so the tests above could fail."""
    model = build()
    right = find_channel_groups(model)
    goes = choose(right, np.random.default_rng(0), 0.4)
    weights = [key for key in right.axes if key[0] in model.graph.initializers]
    assert len(weights) > 4
    for key in weights:
        shifted = {**right.axes, key: np.roll(right.axes[key], 1)}
        if np.array_equal(goes[shifted[key]], goes[right.axes[key]]):
            continue
        groups = replace(right, axes=shifted)
        try:
            smaller = run(remove(model, groups, goes))
        except EdgekitError:
            continue
        assert difference(run(zero(model, right, goes)), smaller) > 10 * ROUNDING


def test_heads_go_as_a_whole() -> None:
    model = attention_block()
    groups = find_channel_groups(model)
    heads = next(group for group in groups.groups if group.unit_channels == 4 and len(group.units) == 4)
    goes = np.isin(np.arange(groups.unit_count), heads.units[:3])
    smaller = remove(model, groups, goes)
    assert shape_of(node(smaller, "Softmax").outputs[0])[1] == 1


def test_blocks_of_a_grouped_convolution_go_as_a_whole() -> None:
    net = Builder(1, 3, 8, 8)
    x = net.relu(net.conv(net.relu(net.conv("x", 32, 3)), 32, 3, group=8))
    model = net.model(net.head(x))
    groups = find_channel_groups(model)
    blocks = next(group for group in groups.groups if len(group.units) == 8)
    smaller = remove(model, groups, np.isin(np.arange(groups.unit_count), blocks.units[:3]))
    assert 5 in [attribute(each, "group") for each in smaller.graph if each.op_type == "Conv"]


def test_toy_classifier(classifier: Path) -> None:
    model = canonicalize(import_model(classifier).model)
    groups = find_channel_groups(model)
    goes = choose(groups, np.random.default_rng(0), 0.3)
    zeroed = run(zero(model, groups, goes))
    assert difference(zeroed, run(remove(model, groups, goes))) < ROUNDING
    assert difference(run(model), zeroed) > 100 * ROUNDING
