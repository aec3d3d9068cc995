"""What a search has removed beyond the budget comes back."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.graph.cost import count_macs
from edgekit.passes.prune import Pruner, PruningScheme
from edgekit.passes.prune import measured as measured_module
from edgekit.passes.prune.growing import grown, price
from edgekit.passes.prune.options import Options, Slot
from edgekit.passes.prune.pricing import Pricer
from edgekit.passes.prune.selection import Selection
from tests.passes.prune.groups.graphs import graph
from tests.passes.prune.test_pruning import residual_network, samples

SLOTS = (Slot("a", (48, 32, 16), units=64, step=8), Slot("b", (24, 8), units=30, step=8), Slot("c", (0,), branch=True))
OPTIONS = Options(SLOTS, np.zeros((3, 3), np.bool_), (-1, -1, -1))


def wide_layer() -> ir.Model:
    return graph(
        "(float[1,64] x) => (float[1,10] y) { h0 = Gemm(x, w0) h = Relu(h0) y = Gemm(h, w1) }",
        w0=(64, 256),
        w1=(256, 10),
    )


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
    model = wide_layer()
    pruner = Pruner(model, samples(model, 16), PruningScheme(channel_multiple=8))
    report = pruner.prune(0.3).report
    (group,) = report.groups
    assert group.after == 176  # 3/8 of 256, which the search takes, would leave 160
    assert report.macs_after == count_macs(model) * 176 // 256
    measured = pruner._measured
    assert measured is not None
    more, less = (measured.alone(group.name, kept, branch=False) for kept in (192, 160))
    assert more is not None and less is not None and group.loss is not None
    assert more < group.loss < less  # what the report tells of it was measured too


def test_what_came_back_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = wide_layer()
    asked = []

    def counted(pricer: Pricer, kept: Mapping[str, int]) -> dict[str, float]:
        asked.append(list(kept.values()))
        return price(pricer, kept)

    monkeypatch.setattr(measured_module, "price", counted)
    pruner = Pruner(model, samples(model, 16), PruningScheme(channel_multiple=8))
    first, _, again = (pruner.prune(ratio).report for ratio in (0.3, 0.25, 0.3))
    assert asked == [[176]]  # 192 of 256 is one of the search's own choices
    assert first == again


def test_what_comes_back_alone_loses_what_its_choice_does() -> None:
    """A price is the same, whichever way it was asked for."""
    build = residual_network()
    model = build.model(list(build.shapes)[-1])
    pruner = Pruner(model, samples(model, 16), PruningScheme(channel_multiple=4))
    measured = pruner._measured
    assert measured is not None
    measured.pricer.full_table()
    slots = [slot for slot in pruner._options.slots if slot.kept and not slot.branch]
    kept = {slot.name: slot.kept[0] for slot in slots}
    assert len(kept) > 1
    assert price(measured.pricer, kept) == pytest.approx(
        {name: measured.alone(name, count, branch=False) for name, count in kept.items()}
    )
