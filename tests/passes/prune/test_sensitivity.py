"""What is measured around a state must be what building the other state gives."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.passes.prune.branches import find_branches
from edgekit.passes.prune.build import Built, Network, build
from edgekit.passes.prune.groups import find_channel_groups
from edgekit.passes.prune.loss import OutputLoss
from edgekit.passes.prune.options import find_options
from edgekit.passes.prune.samples import halves
from edgekit.passes.prune.selection import Selection
from edgekit.passes.prune.sensitivity import Meter, Wanted
from tests.passes.prune.groups.graphs import graph
from tests.passes.prune.test_pruning import Samples, samples


def shortcut(scale: float = 1.0) -> ir.Model:
    """A residual stage whose projection ``d`` can be dropped; it reads ``s0``, its first half ``scale`` times more."""
    weight = np.random.default_rng(1).normal(size=(16, 16, 1, 1))
    weight[:, :8] *= scale
    return graph(
        """(float[1,3,8,8] x) => (float[1,4,8,8] y) { s0 = Conv(x, w0, b0) s = Relu(s0) h0 = Conv(s, w1, b1)
        h = Relu(h0) c = Conv(h, w2, b2) d = Conv(s, w3, b3) a = Add(c, d) r = Relu(a) y = Conv(r, w4) }""",
        **{f"b{index}": (16,) for index in range(4)},
        w0=(16, 3, 1, 1),
        w1=(16, 16, 1, 1),
        w2=(16, 16, 1, 1),
        w3=weight.astype(np.float32),
        w4=(4, 16, 1, 1),
    )


def product() -> ir.Model:
    """Attention of one head: ``q`` ends in a product of activations, and its makers read ``e0``."""
    return graph(
        """(float[1,6,12] x) => (float[1,6,12] y) { e0 = MatMul(x, we) e = Relu(e0) q = MatMul(e, wq)
        k = MatMul(e, wk) kt = Transpose<perm=[0,2,1]>(k) l0 = MatMul(q, kt) l = Mul(l0, t)
        p = Softmax<axis=-1>(l) v = MatMul(e, wv) o = MatMul(p, v) y = MatMul(o, wo) }""",
        t=np.float32(0.02),
        we=(12, 16),
        wq=(16, 16),
        wk=(16, 16),
        wv=(16, 16),
        wo=(16, 12),
    )


def meter_of(model: ir.Model, orders: Mapping[str, np.ndarray], data: Samples | None = None) -> Meter:
    channels = find_channel_groups(model)
    network = Network(model, channels, find_branches(model, channels))
    options = find_options(channels, network.branches, 8)
    return Meter(network, options, OutputLoss(model), halves(data or samples(model, 16), 128), [orders, orders])


def built_on_folds(meter: Meter, selection: Selection) -> list[Built]:
    return [
        build(meter.network, selection, fold.fit, orders)
        for fold, orders in zip(meter.folds, meter.orders, strict=True)
    ]


def measured(meter: Meter, state: Selection, name: str, choice: int, *, branch: bool = False) -> np.ndarray:
    """The rows around ``state`` that one choice of a slot is said to give."""
    (slot,) = [index for index, each in enumerate(meter.options.slots) if (each.name, each.branch) == (name, branch)]
    built = built_on_folds(meter, state)
    before = meter.rows(built)
    changes = meter.changes(built, before, Wanted({slot: [choice]}, lambda key: np.inf), lambda done: None)
    return before + changes[slot, choice]


def test_a_group_is_cut_without_bringing_a_dropped_branch_back() -> None:
    meter = meter_of(shortcut(), {})
    found = measured(meter, Selection({}, frozenset({"d"})), "s0", 1)
    wanted = meter.rows(built_on_folds(meter, Selection({"s0": 8}, frozenset({"d"}))))
    assert np.allclose(found, wanted, atol=1e-3)


def test_a_branch_comes_back_without_the_channels_that_are_gone() -> None:
    meter = meter_of(shortcut(), {"s0": np.arange(16)})
    found = measured(meter, Selection({"s0": 8}, frozenset({"d"})), "d", 0, branch=True)
    assert np.allclose(found, meter.rows(built_on_folds(meter, Selection({"s0": 8}))), atol=1e-3)


def test_a_dropped_branch_has_no_say_in_which_channels_stay() -> None:
    kept = []
    for scale in (0.0, 100.0):
        model = shortcut(scale)
        meter = meter_of(model, {})
        kept += [built.removed for built in built_on_folds(meter, Selection({"s0": 8}, frozenset({"d"})))]
    assert np.array_equal(kept[:2], kept[2:])
    full = built_on_folds(meter_of(shortcut(100.0), {}), Selection({"s0": 8}))
    assert not np.array_equal([each.removed for each in full], kept[2:])


@pytest.mark.parametrize(
    ("state", "name", "choice"),
    [
        ({"e0": 8}, "q", 1),
        ({"q": 8}, "e0", 1),
        ({"q": 8, "e0": 8}, "q", 0),
        ({"q": 8, "e0": 8}, "e0", 0),
    ],
)
def test_makers_that_two_groups_lose_stay_without_both(state: dict[str, int], name: str, choice: int) -> None:
    meter = meter_of(product(), {"q": np.arange(16)[::-1], "e0": np.arange(16)})
    found = measured(meter, Selection(state), name, choice)
    after = {key: kept for key, kept in state.items() if key != name} | ({name: 8} if choice else {})
    wanted = meter.rows(built_on_folds(meter, Selection(after)))
    assert np.allclose(found, wanted, atol=2e-3)
    assert not np.allclose(meter.rows(built_on_folds(meter, Selection(state))), wanted, atol=2e-2)


def test_samples_sorted_by_class_are_given_up_no_earlier_than_mixed_ones() -> None:
    halved = np.kron(np.eye(2), np.eye(8)).astype(np.float32) * 3
    model = graph(
        "(float[1,16] x) => (float[1,4] y) { h = Gemm(x, w) r = Relu(h) y = Gemm(r, v) }", w=halved, v=(16, 4)
    )
    rng = np.random.default_rng(0)
    # Of the units that go first only the first class, a fifth of the samples, has any.
    data = [{"x": np.concatenate([np.zeros((1, 8)), rng.random((1, 8))], 1).astype(np.float32)} for _ in range(80)]
    data[:16] = [{"x": np.roll(sample["x"], 8)} for sample in data[:16]]
    meter = meter_of(model, {"h": np.arange(16)}, data)
    built = built_on_folds(meter, Selection())
    before = meter.rows(built)
    change = meter.changes(built, before, Wanted({0: [1]}, lambda key: np.inf), lambda done: None)[0, 1]
    limit = float(meter.loss.against(before).losses(change[None])[0])
    found = meter.changes(built, before, Wanted({0: [1]}, lambda key: limit), lambda done: None)
    assert np.array_equal(found[0, 1], change)
    wanted = meter.rows(built_on_folds(meter, Selection({"h": 8})))
    assert np.allclose(before + change, wanted, atol=1e-4)
