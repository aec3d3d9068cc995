"""What a cut hands to the elimination, and what comes back."""

import numpy as np
import pytest

from edgekit.passes.prune import cutting
from edgekit.passes.prune.build import Network
from edgekit.passes.prune.collecting import collect
from edgekit.passes.prune.groups import find_channel_groups
from edgekit.passes.prune.surgeon import ConsumerProblem, eliminate, output_energy
from tests.passes.prune.groups.graphs import graph
from tests.passes.prune.importance.networks import samples


def test_a_grouped_convolution_counts_as_one_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    model = graph(
        """(float[1,3,6,6] x) => (float[1,8,6,6] y) { h = Conv(x, w, b) r = Relu(h) y = Conv<group=4>(r, v, c) }""",
        w=(16, 3, 1, 1),
        b=(16,),
        v=(8, 4, 1, 1),
        c=(8,),
    )
    network = Network(model, find_channel_groups(model), ())
    readers = network.readers["h"]
    given: list[ConsumerProblem] = []

    def watched(problems, *arguments, **options):
        given.extend(problems)
        return eliminate(problems, *arguments, **options)

    monkeypatch.setattr(cutting, "eliminate", watched)
    moments = collect(model, {}, ["y"], samples(model, 8))
    nothing = np.zeros(network.channels.unit_count, np.bool_)
    cuts = network.cutter.cut(readers, moments, [1, 2, 3], removed=nothing, order=None)
    assert [len(cuts[count].kept) for count in (1, 2, 3)] == [1, 2, 3]
    assert len(given) == 4
    own = [output_energy(each.matrix, each.gram) for each in given]
    assert [each.energy for each in given] == pytest.approx([sum(own)] * 4)
