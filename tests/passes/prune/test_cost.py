from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.graph.cost import count_macs, count_parameters
from edgekit.passes.prune.branches import drop_branches, find_branches
from edgekit.passes.prune.cost import CostModel
from edgekit.passes.prune.groups import ChannelGroup, ChannelGroups, find_channel_groups
from edgekit.passes.prune.removal import remove
from tests.passes.prune import test_branches, test_removal
from tests.passes.prune.networks import Builder, choose, kept_counts

NETWORKS = [*test_removal.NETWORKS, *test_branches.NETWORKS]


@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_costs_are_those_of_the_smaller_graph(build: Callable[[], ir.Model]) -> None:
    model = build()
    groups = find_channel_groups(model)
    branches = find_branches(model, groups)
    cost = CostModel(model, groups, branches)
    assert (cost.macs({}), cost.parameters({})) == (count_macs(model), count_parameters(model))
    for seed in range(4):
        rng = np.random.default_rng(seed)
        goes = choose(groups, rng, 0.4)
        gone = {branch.add: branch for branch in branches if rng.integers(2)}.values()
        smaller = remove(drop_branches(model, gone), groups, goes)
        kept, names = kept_counts(groups, goes), [branch.name for branch in gone]
        assert cost.macs(kept, names) == count_macs(smaller)
        assert cost.parameters(kept, names) == count_parameters(smaller)
        assert cost.macs(kept, names) < count_macs(model)


def test_a_group_in_a_dropped_branch_costs_nothing() -> None:
    model = test_branches.residual()
    groups = find_channel_groups(model)
    branch = find_branches(model, groups)[0]
    cost = CostModel(model, groups, [branch])
    hidden = next(group for group in groups.groups if group.name in branch.groups)
    assert cost.macs({hidden.name: 1}) < cost.macs({})
    assert cost.macs({hidden.name: 1}, [branch.name]) == cost.macs({}, [branch.name])


def test_what_only_two_branches_read_goes_with_both() -> None:
    net = Builder(1, 3, 8, 8)
    x = net.conv("x", 8, 3)
    common = net.relu(net.conv(x, 8))
    y = net.op("Add", x, net.conv(common, 8))
    z = net.op("Add", net.relu(y), net.conv(common, 8))
    model = net.model(net.head(net.relu(z)))
    groups = ChannelGroups({}, 0, (), ())
    branches = [branch for branch in find_branches(model, groups) if len(branch.nodes) == 1]
    assert len(branches) == 2
    cost = CostModel(model, groups, branches)
    assert cost.macs({}, [branch.name for branch in branches]) == count_macs(drop_branches(model, branches))
    alone = [cost.macs({}) - cost.macs({}, [branch.name]) for branch in branches]
    assert cost.macs({}) - cost.macs({}, [branch.name for branch in branches]) > sum(alone)


def test_units_of_different_size_cost_what_the_last_cost() -> None:
    net = Builder(1, 3, 4, 4)
    x = net.conv("x", 6)
    y = net.conv(x, 2)
    units = np.array([0, 1, 1, 1, 2, -1])
    axes = {("c0", 0): units, ("c1", 0): units, (x, 1): units, ("c2", 1): units}
    model = net.plain(y)
    groups = ChannelGroups(axes, 3, (ChannelGroup("n0_Conv", (0, 1, 2), 6, (), ()),), ())
    cost = CostModel(model, groups, [])
    for kept, goes in ((1, [True, True, False]), (2, [True, False, False])):
        assert cost.macs({"n0_Conv": kept}) == count_macs(remove(model, groups, np.array(goes)))
