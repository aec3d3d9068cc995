"""Smaller graphs compute what graphs with zeros in the same places compute."""

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
from tests.passes.prune.networks import Builder, choose, difference, labelled, node, run

ROUNDING = 1e-5
"""Sums of other lengths are added in another order; these networks have a few layers."""

CHANNELS = 8


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


def computed_bias() -> ir.Model:
    """tf2onnx's residual sum of maps of a single pixel."""
    net = Builder(1, 3, 1, 1)
    x = net.relu(net.conv("x", 12))
    bias = net.reshape(net.conv(x, 16), 16)
    summed = net.op("Conv", x, net.weight(16, 12, 1, 1), bias)
    return net.model(net.head(net.relu(summed)))


NETWORKS = [
    *(se_block, shufflenet_unit, attention_block, pixel_shuffle, dense_block),
    *(grouped, unet, flat, computed_bias),
]


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
