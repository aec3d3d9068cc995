"""Attributes and shape constants follow from labels, op by op; here the labels are given by hand."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.graph.queries import attribute, constant_value, shape_of
from edgekit.passes.prune.removal import remove, zero
from tests.passes.prune.networks import Array, Builder, difference, labelled, node, run

ROUNDING = 1e-5
"""Sums of other lengths are added in another order; these networks have a few layers."""

CHANNELS = 8
OwnLabels = Callable[[Builder, str, Array], tuple[str, Array]]


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
