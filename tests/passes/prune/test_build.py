"""A built network must compute what the smaller one does: ``shrink`` raises when it does not."""

import numpy as np
import pytest

from edgekit.graph.queries import constant_value
from edgekit.importers import import_model
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.prune.branches import find_branches
from edgekit.passes.prune.build import Network, build
from edgekit.passes.prune.finishing import shrink
from edgekit.passes.prune.groups import find_channel_groups
from edgekit.passes.prune.selection import Selection
from tests import toy


@pytest.fixture(scope="module")
def network(classifier) -> Network:
    model = canonicalize(import_model(classifier).model)
    channels = find_channel_groups(model)
    return Network(model, channels, find_branches(model, channels))


@pytest.mark.parametrize("kept", [{}, {"stem": 8}, {"down": 16}, {"stem": 8, "down": 8}])
def test_a_dropped_branch_stays_zero_when_channels_that_it_reads_go_too(network, kept) -> None:
    samples = [{"image": image[None]} for image in toy.images(16, seed=4)[0]]
    selection = Selection(kept, frozenset({"pointwise"}))
    built = build(network, selection, samples, {})
    small = shrink(network, built, selection.dropped, samples[0])
    assert not {"pointwise", "depthwise"} & {node.name for node in small.graph}
    for branch in network.branches:
        for name in branch.weights:
            replaced = built.weights.get(name, constant_value(network.model.graph.initializers[name]))
            assert not np.any(replaced)
