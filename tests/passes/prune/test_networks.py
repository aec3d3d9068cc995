"""The comparison that tests of pruning rest on must notice what it is for."""

import numpy as np

from tests.passes.prune.networks import difference


def test_what_is_no_number_differs_in_whichever_output_it_is() -> None:
    fine, broken = np.ones(3), np.array([1.0, np.nan, 1.0])
    assert difference([fine, fine], [fine, fine * 1.5]) == 0.5
    for others in ([broken, fine], [fine, broken], [fine, np.full(3, np.inf)]):
        assert not difference([fine, fine], others) < 1e30
