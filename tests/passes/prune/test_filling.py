"""A budget that needs what takes too long to measure."""

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.passes.prune import Pruner, PruningScheme, pricing
from tests.passes.prune.groups.graphs import graph
from tests.passes.prune.test_pruning import samples


def stream() -> ir.Model:
    """Nearly all multiply-accumulates read ``c``, which two layers make and two read."""
    return graph(
        """(float[1,8,8,8] x) => (float[1,4,8,8] y) { h0 = Conv(x, w0) h = Relu(h0) c = Conv(h, w1) d = Conv(x, w2)
        s = Max(c, d) e = Conv<pads=[1,1,1,1]>(s, w3) f = Conv<pads=[1,1,1,1]>(s, w4) y = Mul(e, f) }""",
        w0=(16, 8, 1, 1),
        w1=(64, 16, 1, 1),
        w2=(64, 8, 1, 1),
        w3=(4, 64, 3, 3),
        w4=(4, 64, 3, 3),
    )


@pytest.mark.slow
@pytest.mark.parametrize("most", [1.0, 1.5e7])
def test_streams_that_the_budget_needs_are_cut_just_enough(most: float, monkeypatch: pytest.MonkeyPatch) -> None:
    model = stream()
    data = samples(model, 16)
    wanted = Pruner(model, data, PruningScheme()).prune(0.2).report
    monkeypatch.setattr(pricing, "MOST_MACS", most)
    pruner = Pruner(model, data, PruningScheme())
    pruned = pruner.prune(0.2)
    report = pruned.report
    assert 0.2 <= 1 - report.macs_after / report.macs_before < 0.3
    assert report.loss is not None and wanted.loss is not None
    assert report.loss < 1.5 * wanted.loss
    assert not any("left whole" in note for note in report.notes)
    (group,) = [group for group in report.groups if group.name == "c"]
    assert 32 < group.after < 64
    assert any("by cost alone" in note for note in report.notes) == (group.loss is None)
    # Where the budget needs none of them, they are whole.
    small = pruner.prune(0.01).report
    assert any("left whole" in note for note in small.notes)
    assert np.isfinite(small.loss)
