import math
from dataclasses import replace

import numpy as np
import pytest

from edgekit.passes.prune import PruningScheme, measured
from edgekit.passes.prune.pricing import Table
from edgekit.passes.prune.pruning import Pruner
from edgekit.passes.prune.search import Prices
from edgekit.passes.prune.selection import Selection
from tests.passes.prune.test_growing import wide_layer
from tests.passes.prune.test_pruning import residual_network, samples


@pytest.mark.parametrize("dearest", [0.0, math.inf])
def test_a_dear_way_is_compared_with_what_was_given_up(monkeypatch: pytest.MonkeyPatch, dearest: float) -> None:
    built = residual_network()
    model = built.model(list(built.shapes)[-1])
    pruner = Pruner(model, samples(model, 16), PruningScheme())
    work = pruner._measured
    assert work is not None

    def cost(selection: Selection) -> float:
        return pruner.costs.macs(selection.kept, selection.dropped)

    limit = 0.9 * cost(Selection())
    full = work.pricer.full_table()
    options = full.options
    states = [options.chosen(options.nothing(), *choice) for choice in options.choices]
    losses = full.prices.comparison.losses(full.prices.changes)
    enough = [index for index, state in enumerate(states) if cost(options.selection(state)) <= limit]
    worst = max(enough, key=lambda index: losses[index])
    only = options.where(lambda index: index == worst)
    left = Table(only, Prices(full.prices.comparison, np.zeros_like(full.prices.whole), full.prices.changes[[worst]]))
    monkeypatch.setattr(work.pricer, "table", lambda: left)
    monkeypatch.setattr(measured, "DEAREST", dearest)
    attempt, foretold = work._first(cost, limit)
    dear = options.selection(states[worst])
    if math.isinf(dearest):
        assert attempt.selection == dear and foretold == pytest.approx(losses[worst])
    else:
        assert attempt.selection != dear and foretold < losses[worst]


@pytest.mark.parametrize(("grown_loss", "taken"), [(0.1, "grown"), (0.2, "grown"), (0.3, "attempt")])
def test_the_wider_network_is_taken_unless_it_lost_more(
    monkeypatch: pytest.MonkeyPatch, grown_loss: float, taken: str
) -> None:
    model = wide_layer()
    pruner = Pruner(model, samples(model, 16), PruningScheme(channel_multiple=8))
    work = pruner._measured
    assert work is not None
    build_attempt = work._attempt
    losses = {160: 0.2, 176: grown_loss}
    monkeypatch.setattr(
        work, "_attempt", lambda found: replace(build_attempt(found), loss=losses[next(iter(found.kept.values()))])
    )
    report = pruner.prune(0.3).report
    (group,) = report.groups
    if taken == "grown":
        assert group.after == 176 and report.wider is None
        assert report.to_json()["wider"] is None
    else:
        assert group.after == 160
        assert report.wider is not None and report.wider.macs == pruner.costs.macs({group.name: 176})
        assert report.to_json()["wider"] == {"macs": report.wider.macs, "loss": 0.3, "than": 0.2}
