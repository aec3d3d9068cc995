"""The same share of every group, when there are no samples."""

import pytest

from edgekit.graph.cost import count_macs
from edgekit.passes.prune import ImportanceName, Pruner, PruningScheme
from tests.passes.prune.groups.graphs import graph


@pytest.mark.parametrize(("ratio", "after"), [(0.2, [24, 32, 24]), (0.5, [24, 16, 24])])
def test_only_as_many_groups_as_needed_take_the_last_step(ratio: float, after: list[int]) -> None:
    model = graph(
        """(float[1,16] x) => (float[1,10] y) { a0 = Gemm(x, w0) a = Relu(a0) b0 = Gemm(a, w1) b = Relu(b0)
        c0 = Gemm(b, w2) c = Relu(c0) y = Gemm(c, w3) }""",
        w0=(16, 32),
        w1=(32, 32),
        w2=(32, 32),
        w3=(32, 10),
    )
    report = Pruner(model, None, PruningScheme(importance=ImportanceName.L1)).prune(ratio).report
    assert [group.after for group in report.groups] == after
    assert report.macs_after <= (1 - ratio) * count_macs(model)
