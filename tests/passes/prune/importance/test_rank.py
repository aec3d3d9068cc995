import subprocess
import sys

import numpy as np
import pytest

from edgekit.errors import DependencyError
from edgekit.passes.prune.importance import KINDS, Needs, rank
from edgekit.passes.prune.scheme import ImportanceName
from tests.passes.prune.importance.networks import chain, equal_columns, evidence

CHEAP = [name for name in ImportanceName if KINDS[name].module is not None and KINDS[name].needs is not Needs.GRADIENTS]


@pytest.mark.parametrize("name", CHEAP)
def test_an_order_names_each_unit_once_and_is_repeatable(name: ImportanceName) -> None:
    known = evidence(chain())
    orders = rank(name, known).orders
    assert {group.name: len(group.units) for group in known.channels.groups} == {"n0_Conv": 8, "n2_Conv": 6}
    for group in known.channels.groups:
        assert sorted(orders[group.name]) == list(range(len(group.units)))
    again = rank(name, evidence(chain())).orders
    assert {group: list(order) for group, order in orders.items()} == {
        group: list(each) for group, each in again.items()
    }


def test_every_name_has_a_row() -> None:
    assert set(KINDS) == set(ImportanceName)
    assert [name for name, kind in KINDS.items() if kind.needs_samples] == ["obs", "activation", "taylor"]


def test_with_samples_optimal_brain_surgeon_ranks_nothing_beforehand() -> None:
    ranking = rank(ImportanceName.OBS, evidence(chain()))
    assert ranking.orders == {} and ranking.by_norm == ()


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.needs_samples])
def test_without_samples_what_needs_them_goes_by_norm_and_says_so(name: ImportanceName) -> None:
    known = evidence(chain(), data=False)
    ranking, norms = rank(name, known), rank(ImportanceName.L2, known)
    assert ranking.by_norm == ("n0_Conv", "n2_Conv") and norms.by_norm == ()
    for group, order in norms.orders.items():
        np.testing.assert_array_equal(ranking.orders[group], order)


def test_of_equal_units_the_lowest_index_goes_first() -> None:
    orders = rank(ImportanceName.L1, evidence(equal_columns())).orders
    assert [list(order) for order in orders.values()] == [list(range(8))]


def test_random_depends_on_the_seed_and_the_group_alone() -> None:
    model = chain()
    first, second = (rank(ImportanceName.RANDOM, evidence(model, data=False, seed=seed)).orders for seed in (0, 1))
    assert list(first["n0_Conv"]) != list(second["n0_Conv"])
    assert list(first["n0_Conv"][:6]) != list(first["n2_Conv"])
    # As numbers, so that no release changes what a seed gave.
    assert list(first["n0_Conv"]) == [3, 5, 6, 1, 7, 2, 0, 4]


def test_taylor_without_tensorflow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import util

    monkeypatch.setattr(util, "find_spec", lambda name, *_: None)
    with pytest.raises(DependencyError, match=r"needs TensorFlow: pip install 'edgekit\[tensorflow\]'"):
        rank(ImportanceName.TAYLOR, evidence(chain()))


def test_what_needs_samples_is_known_without_numpy() -> None:
    code = (
        "import sys; from edgekit.passes.prune.importance import KINDS; assert KINDS; sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
