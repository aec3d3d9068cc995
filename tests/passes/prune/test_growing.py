"""What a search has removed beyond the budget comes back."""

import numpy as np
import pytest

from edgekit.graph.cost import count_macs
from edgekit.passes.prune import Pruner, PruningScheme
from edgekit.passes.prune.growing import grown
from edgekit.passes.prune.options import Options, Slot
from edgekit.passes.prune.selection import Selection
from tests.passes.prune.groups.graphs import graph
from tests.passes.prune.test_pruning import samples

SLOTS = (Slot("a", (48, 32, 16), units=64, step=8), Slot("b", (24, 8), units=30, step=8), Slot("c", (0,), branch=True))
OPTIONS = Options(SLOTS, np.zeros((3, 3), np.bool_), (-1, -1, -1))


def units_left(selection: Selection) -> float:
    return 0.0 + selection.kept.get("a", 64) + selection.kept.get("b", 30) + (0 if selection.dropped else 6)


@pytest.mark.parametrize(
    ("losses", "limit", "kept"),
    [
        ({"a": 0.1, "b": 0.1}, 54.0, {"a": 24, "b": 24}),  # b's 22 units lose more for each than a's 48
        ({"a": 9.0, "b": 0.1}, 54.0, {"a": 40, "b": 8}),
        ({"b": 0.1}, 60.0, {"a": 16, "b": 24}),  # nobody knows what a loses
        ({"a": 9.0, "b": 0.1}, 78.0, {"b": 8}),  # all of a, which is then not pruned
        ({"a": 9.0, "b": 0.1}, 31.0, {"a": 16, "b": 8}),  # no multiple fits
    ],
)
def test_units_come_back_where_they_lose_most_for_their_cost(
    losses: dict[str, float], limit: float, kept: dict[str, int]
) -> None:
    selection = Selection({"a": 16, "b": 8}, frozenset({"c"}))
    assert grown(OPTIONS, losses, selection, units_left, limit) == Selection(kept, frozenset({"c"}))


def test_little_room_is_left_alone() -> None:
    selection = Selection({"a": 16, "b": 8})

    def cost(each: Selection) -> float:
        return 1000 + units_left(each)

    assert grown(OPTIONS, {"a": 1.0, "b": 1.0}, selection, cost, cost(selection) + 9) is selection


def test_one_wide_layer_loses_no_more_than_its_multiple_asks_for() -> None:
    model = graph(
        "(float[1,64] x) => (float[1,10] y) { h0 = Gemm(x, w0) h = Relu(h0) y = Gemm(h, w1) }",
        w0=(64, 256),
        w1=(256, 10),
    )
    report = Pruner(model, samples(model, 16), PruningScheme(channel_multiple=8)).prune(0.3).report
    (group,) = report.groups
    assert group.after == 176  # 3/8 of 256, which the search takes, would leave 160
    assert report.macs_after == count_macs(model) * 176 // 256
