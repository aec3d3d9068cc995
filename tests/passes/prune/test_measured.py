import math

import numpy as np
import pytest

from edgekit.passes.prune import PruningScheme, measured
from edgekit.passes.prune.pricing import Table
from edgekit.passes.prune.pruning import Pruner
from edgekit.passes.prune.search import Prices
from edgekit.passes.prune.selection import Selection
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
