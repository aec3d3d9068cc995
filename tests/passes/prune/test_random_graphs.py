"""On networks wired at random: what is removed equals what is zeroed, and costs what was foretold."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from edgekit.graph.cost import count_macs, count_parameters
from edgekit.passes.prune.branches import drop_branches, find_branches
from edgekit.passes.prune.cost import CostModel
from edgekit.passes.prune.groups import find_channel_groups
from edgekit.passes.prune.removal import remove, zero
from tests.passes.prune.networks import choose, difference, kept_counts, run, without_weights
from tests.passes.prune.random_graphs import random_models

ROUNDING = 1e-4
"""Relative to the largest output. Norms divide by small deviations now and then, which enlarges rounding."""


def quietly(max_examples: int) -> settings:
    return settings(
        max_examples=max_examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@quietly(40)
@given(random_models(), st.integers(0, 99))
def test_removed_equals_zeroed(model: ir.Model, seed: int) -> None:
    check(model, seed)


@pytest.mark.slow
@quietly(300)
@given(random_models(most=14), st.integers(0, 99))
def test_removed_equals_zeroed_in_larger_networks(model: ir.Model, seed: int) -> None:
    check(model, seed)


def check(model: ir.Model, seed: int) -> None:
    groups = find_channel_groups(model)
    branches = find_branches(model, groups)
    cost = CostModel(model, groups, branches)
    rng = np.random.default_rng(seed)
    event("groups" if groups.groups else "no groups")
    for share in (0.2, 0.6):
        goes = choose(groups, rng, share)
        smaller = remove(model, groups, goes)
        assert difference(run(zero(model, groups, goes)), run(smaller)) < ROUNDING
        kept = kept_counts(groups, goes)
        assert (cost.macs(kept), cost.parameters(kept)) == (count_macs(smaller), count_parameters(smaller))
        gone = {branch.add: branch for branch in branches if rng.integers(2)}.values()
        dropped, names = drop_branches(model, gone), [branch.name for branch in gone]
        assert difference(run(without_weights(model, gone)), run(dropped)) < ROUNDING
        smaller = remove(dropped, groups, goes)
        assert (cost.macs(kept, names), cost.parameters(kept, names)) == (
            count_macs(smaller),
            count_parameters(smaller),
        )
