import numpy as np
import pytest

from edgekit.passes.prune.branches import find_branches
from edgekit.passes.prune.groups import ChannelGroup, find_channel_groups
from edgekit.passes.prune.groups.channels import WeightUse
from edgekit.passes.prune.options import find_options, is_stream, kept_units, nearest_units
from edgekit.passes.prune.uniform import uniform
from tests.passes.prune.networks import Builder


def group(channels: int, units: int, *, layers: int = 1) -> ChannelGroup:
    uses = tuple(WeightUse(f"node{index}", f"weight{index}", 0) for index in range(layers))
    return ChannelGroup("group", tuple(range(units)), channels, uses, uses)


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
    assert kept_units(group(channels, units), multiple) == kept


def test_residual_streams_have_fewer_choices() -> None:
    stream = group(64, 64, layers=3)
    assert is_stream(stream) and not is_stream(group(64, 64))
    assert kept_units(stream, 8) == (56, 48, 32)


def test_at_least_one_multiple_stays_and_never_more_than_there_are() -> None:
    assert nearest_units(group(64, 64), 0.0, 8) == 8
    assert nearest_units(group(4, 4), 0.1, 8) == 4
    assert nearest_units(group(64, 64), 1.0, 8) == 64


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
    outermost = max(range(len(branches)), key=lambda index: len(branches[index].nodes))
    smallest = options.selection(options.smallest())
    assert branches[outermost].name in smallest.dropped
    assert options.state(smallest).tolist() == options.smallest().tolist()


def test_without_samples_all_groups_inside_blocks_lose_the_same_share() -> None:
    groups = [
        ChannelGroup(f"group{index}", tuple(range(count)), count, (), ()) for index, count in enumerate((32, 64, 128))
    ]
    found = uniform(
        groups, 8, lambda selection: sum(selection.kept.get(each.name, each.channels) for each in groups), 120
    )
    assert found is not None
    assert 120 - 16 < sum(found.kept.values()) <= 120
    shares = [found.kept[each.name] / each.channels for each in groups]
    assert max(shares) - min(shares) <= 8 / 32
    assert uniform(groups, 8, lambda selection: 1.0, 0.5) is None
