from itertools import product
from typing import Any

import numpy as np
import pytest

from edgekit.errors import GateError
from edgekit.passes.prune.branches import find_branches
from edgekit.passes.prune.cost import CostModel
from edgekit.passes.prune.groups import ChannelGroup, ChannelGroups, find_channel_groups
from edgekit.passes.prune.groups.channels import WeightUse
from edgekit.passes.prune.options import find_options, is_stream, kept_units, misaligned, steps
from edgekit.passes.prune.pruning import prune
from edgekit.passes.prune.scheme import PruningScheme
from edgekit.passes.prune.selection import Selection
from edgekit.passes.prune.uniform import uniform
from tests.passes.prune.groups.graphs import graph, ints
from tests.passes.prune.networks import Builder


def group(channels: int, units: int, *, layers: int = 1) -> ChannelGroup:
    uses = tuple(WeightUse(f"node{index}", f"weight{index}", 0) for index in range(layers))
    return ChannelGroup("group", tuple(range(units)), channels, uses, uses)


def alone(group: ChannelGroup) -> ChannelGroups:
    """No other channels lie on the group's axes."""
    labels = np.repeat(group.units, group.unit_channels)
    return ChannelGroups({(use.weight, use.axis): labels for use in group.producers}, len(group.units), (group,), ())


@pytest.mark.parametrize(
    ("channels", "units", "multiple", "kept"),
    [
        (64, 64, 8, (56, 48, 40, 32, 24, 16, 8)),
        (16, 16, 8, (8,)),
        (24, 24, 16, (16,)),
        (8, 8, 8, ()),
        (3, 3, 8, ()),
        (96, 6, 8, (5, 4, 3, 2, 1)),
        (20, 20, 1, (18, 15, 12, 10, 8, 5, 2)),
    ],
)
def test_multiples_of_channels_are_kept(channels: int, units: int, multiple: int, kept: tuple[int, ...]) -> None:
    one = group(channels, units)
    assert kept_units(alone(one), one, multiple) == kept


def test_residual_streams_have_fewer_choices() -> None:
    stream = group(64, 64, layers=3)
    assert is_stream(stream) and not is_stream(group(64, 64))
    assert kept_units(alone(stream), stream, 8) == (56, 48, 32)


def test_at_least_one_multiple_stays_and_never_more_than_there_are() -> None:
    for channels, share, kept in ((64, 0.0, 8), (4, 0.1, 4), (64, 1.0, 64)):
        one = group(channels, channels)
        assert steps(alone(one), one, 8).nearest(share) == kept


SPLIT = "{ a = Conv(x, w) p, q = Split<axis = 1>(a, sizes) c = Conv(p, u) d = Conv(q, v) y = Add(c, d) }"
SLICED = "{ a = Conv(x, w) z = Slice(a, zero, one, one) y = Conv(a, u) }"
JOINED = "{ a = Conv(x, w) b = Conv(x, v) c = Concat<axis = 1>(a, b) y = Conv(c, u) }"


@pytest.mark.parametrize(
    ("text", "constants", "wanted"),
    [
        # Of a layer with 64 channels each part loses multiples; a part of 4 stays.
        (SPLIT, {"w": (64, 3, 1, 1), "u": (4, 44, 1, 1), "v": (4, 20, 1, 1), "sizes": ints(44, 20)}, {44: 8, 20: 8}),
        (SPLIT, {"w": (64, 3, 1, 1), "u": (4, 60, 1, 1), "v": (4, 4, 1, 1), "sizes": ints(60, 4)}, {60: 8, 4: 0}),
        # One channel is an output and stays: 31 others.
        (SLICED, {"w": (32, 3, 1, 1), "u": (4, 32, 1, 1), "zero": ints(0), "one": ints(1)}, {31: 8}),
        # 20 channels become 16, but for a reader of 20 + 12.
        (JOINED, {"w": (20, 3, 1, 1), "v": (16, 3, 1, 1), "u": (4, 36, 1, 1)}, {20: 4, 16: 8}),
        (JOINED, {"w": (20, 3, 1, 1), "v": (12, 3, 1, 1), "u": (4, 32, 1, 1)}, {20: 8, 12: 8}),
    ],
)
def test_layers_of_several_groups_keep_their_multiple(
    text: str, constants: dict[str, Any], wanted: dict[int, int]
) -> None:
    """``wanted``: of each group of so many units, how many fewer there are with its first choice."""
    outputs = "float[1,4,8,8] y" + (", float[1,1,8,8] z" if text is SLICED else "")
    groups = find_channel_groups(graph(f"(float[1,3,8,8] x) => ({outputs}) {text}", **constants))
    found = {}
    for one in groups.groups:
        kept = kept_units(groups, one, 8)
        found[len(one.units)] = len(one.units) - kept[0] if kept else 0
        for count in kept:
            assert misaligned(groups, Selection({one.name: count}), 8) == {}
    assert found == wanted


def test_what_no_choice_keeps_a_multiple_is_told() -> None:
    """A grouped convolution reads blocks of 8; the layer before it keeps its multiple."""
    model = graph(
        "(float[1,3,8,8] x) => (float[1,4,8,8] y) { a = Conv(x, w) g = Conv<group = 4>(a, v) y = Conv(g, u) }",
        w=(32, 3, 1, 1),
        v=(16, 8, 1, 1),
        u=(4, 16, 1, 1),
    )
    groups = find_channel_groups(model)
    one = next(each for each in groups.groups if each.channels == 32)
    kept = kept_units(groups, one, 8)
    assert len(one.units) == 8 and kept == (6, 4, 2)
    assert misaligned(groups, Selection({one.name: 6}), 8) == {"g": (8, 6)}
    pruned = prune(model, None, 0.2, PruningScheme())
    assert any("g: " in note and "no multiple of 8" in note for note in pruned.report.notes)


@pytest.mark.parametrize("terms", ["c, d", "d, c"])
def test_of_two_terms_of_a_sum_the_dearer_goes_at_least(terms: str) -> None:
    model = graph(
        "(float[1,3,16,16] x) => (float[1,4,16,16] y) { s = Conv(x, w) c = Conv(s, u) d = Conv<pads = [2,2,2,2]>(s, v)"
        f" a = Add({terms}) r = Relu(a) y = Conv(r, z) }}",
        w=(8, 3, 1, 1),
        u=(8, 8, 1, 1),
        v=(8, 8, 5, 5),
        z=(4, 8, 1, 1),
    )
    pruned = prune(model, None, 0.5, PruningScheme())
    assert pruned.selection.dropped == {"d"}
    with pytest.raises(GateError, match=r"at most 9\d"):
        prune(model, None, 0.99, PruningScheme())


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_smaller_than_the_smallest(seed: int) -> None:
    """Against all states, whatever options cost; branches beside and inside each other."""
    rng = np.random.default_rng(seed)
    build = Builder(1, 8, 6, 6)
    widths = rng.choice([8, 16, 24, 32], 3)
    inner = build.op("Add", build.conv("x", 16, 3), build.conv(build.relu(build.conv("x", int(widths[0]))), 16))
    outer = build.conv(build.relu(build.conv(inner, int(widths[1]))), 8)
    build.head(build.op("Add", outer, build.conv(build.relu(build.conv("x", int(widths[2]), 3)), 8)))
    model = build.model(list(build.shapes)[-1])
    channels = find_channel_groups(model)
    branches = find_branches(model, channels)
    costs = CostModel(model, channels, branches)
    options = find_options(channels, branches, 8)
    assert len(branches) == 4

    def cost(state: np.ndarray) -> float:
        chosen = options.selection(state)
        return costs.macs(chosen.kept, chosen.dropped)

    every = (np.array(state) for state in product(*(range(len(slot.kept) + 1) for slot in options.slots)))
    allowed = [state for state in every if not (options.conflicts[np.ix_(state > 0, state > 0)]).any()]
    assert len(allowed) > 30
    smallest = options.smallest(lambda each: costs.macs(each.kept, each.dropped))
    assert cost(smallest) == min(map(cost, allowed))


def nested() -> Builder:
    """A branch with a branch inside."""
    build = Builder(1, 8, 6, 6)
    inner = build.conv(build.relu(build.conv("x", 16)), 16)
    outer = build.op("Add", inner, build.conv(build.relu(build.conv(inner, 24)), 16))
    build.head(build.op("Add", "x", build.conv(outer, 8)))
    return build


def test_a_branch_excludes_all_that_lies_inside() -> None:
    build = nested()
    model = build.model(list(build.shapes)[-1])
    channels = find_channel_groups(model)
    branches = find_branches(model, channels)
    options = find_options(channels, branches, 8)
    first = len(channels.groups)
    for index, branch in enumerate(branches):
        inside = {group.name for group in channels.groups if group.name in branch.groups}
        excluded = {options.slots[slot].name for slot in np.flatnonzero(options.conflicts[first + index, :first])}
        assert excluded == inside
    assert np.array_equal(options.conflicts, options.conflicts.T)
    costs = CostModel(model, channels, branches)
    least = options.smallest(lambda each: costs.macs(each.kept, each.dropped))
    outermost = max(range(len(branches)), key=lambda index: len(branches[index].nodes))
    smallest = options.selection(least)
    assert branches[outermost].name in smallest.dropped
    assert options.state(smallest).tolist() == least.tolist()


def test_without_samples_all_groups_inside_blocks_lose_the_same_share() -> None:
    counts = (32, 64, 128)
    groups = [ChannelGroup(f"group{index}", tuple(range(count)), count, (), ()) for index, count in enumerate(counts)]
    channels = ChannelGroups({}, sum(counts), tuple(groups), ())
    found = uniform(
        channels, 8, lambda selection: sum(selection.kept.get(each.name, each.channels) for each in groups), 120
    )
    assert found is not None
    assert 120 - 16 < sum(found.kept.values()) <= 120
    shares = [found.kept[each.name] / each.channels for each in groups]
    assert max(shares) - min(shares) <= 8 / 32
    assert uniform(channels, 8, lambda selection: 1.0, 0.5) is None
