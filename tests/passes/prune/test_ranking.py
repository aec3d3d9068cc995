"""Orders of channels, and what the elimination is told of consumers that it cannot fit."""

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.passes.prune import ranking
from edgekit.passes.prune.build import Built, Network, build
from edgekit.passes.prune.groups import find_channel_groups
from edgekit.passes.prune.importance import Ranking, activation
from edgekit.passes.prune.importance.evidence import Evidence
from edgekit.passes.prune.network import Sample
from edgekit.passes.prune.ranking import MOST_TAYLOR_SAMPLES, Ranker
from edgekit.passes.prune.scheme import ImportanceName
from edgekit.passes.prune.selection import Selection
from edgekit.passes.prune.surgeon import Unfitted
from tests.passes.prune.groups.graphs import graph
from tests.passes.prune.importance.networks import samples

UNET = """(float[1,3,8,8] x) => (float[1,4,8,8] y, float[1,4,16,16] z)
    { a = Conv(x, w, b) r = Relu(a) y = Conv(r, v) z = ConvTranspose<strides=[2,2]>(r, u) }"""
SHARED = """(float[1,3,8,8] x) => (float[1,4,8,8] y, float[1,4,8,8] z, float[1,4,4,4] s)
    { a = Conv(x, w, b) r = Relu(a) y = Conv(r, v) z = Conv(r, u) q = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)
    s = Conv(q, u) }"""


def two_readers(text: str, shape: tuple[int, ...], axis: int) -> ir.Model:
    """The layer that is fitted reads units 8 to 15, the other one almost only the first 8."""
    random = np.random.default_rng(0)
    v = random.normal(size=(4, 16, 1, 1)).astype(np.float32)
    v[:, :8] = 0
    u = 10 * random.normal(size=shape).astype(np.float32)
    np.moveaxis(u, axis, 0)[8:] *= 1e-3
    return graph(text, w=(16, 3, 1, 1), b=(16,), v=v, u=u)


def obs(network: Network, data: list[Sample]) -> dict[str, object]:
    return dict(Ranker(network, ImportanceName.OBS, 0, {}).orders(data))


def kept(model: ir.Model) -> set[int]:
    network, data = Network(model, find_channel_groups(model), ()), samples(model, 8)
    orders = Ranker(network, ImportanceName.OBS, 0, {}).orders(data)
    built: Built = build(network, Selection({"a": 8}), data, orders)
    group = network.channels.of("a")
    return {index for index, unit in enumerate(group.units) if not built.removed[unit]}


@pytest.mark.parametrize(("text", "shape", "axis"), [(UNET, (16, 4, 2, 2), 0), (SHARED, (4, 16, 1, 1), 1)])
def test_consumers_that_cannot_be_fitted_have_a_say(text: str, shape: tuple[int, ...], axis: int) -> None:
    stay = kept(two_readers(text, shape, axis))
    # Not those that the fitted layer alone would choose, 8 to 15: it can make up for many of them.
    assert len(stay & set(range(8))) >= 4


def test_shares_are_those_of_the_energy_that_a_consumer_meets() -> None:
    model = two_readers(UNET, (16, 4, 2, 2), 0)
    channels = find_channel_groups(model)
    known = Evidence(model, channels, samples(model, 8))
    (use,) = [use for use in channels.of("a").consumers if use.node == "z"]
    found = activation.shares(known, {use})["a"]
    assert found.sum() == pytest.approx(1.0) and found[:8].sum() > 0.999
    assert activation.shares(known, set()) == {}


def test_where_all_consumers_are_fitted_nothing_is_said() -> None:
    model = graph(
        "(float[1,3,8,8] x) => (float[1,4,8,8] y) { a = Conv(x, w) r = Relu(a) y = Conv(r, v) }",
        w=(16, 3, 1, 1),
        v=(4, 16, 1, 1),
    )
    network = Network(model, find_channel_groups(model), ())
    assert obs(network, samples(model, 4)) == {}
    unet = two_readers(UNET, (16, 4, 2, 2), 0)
    told = obs(Network(unet, find_channel_groups(unet), ()), samples(unet, 4))
    assert list(told) == ["a"] and isinstance(told["a"], Unfitted)


def test_groups_without_a_scale_are_told() -> None:
    model = two_readers(UNET, (16, 4, 2, 2), 0)
    network = Network(model, find_channel_groups(model), ())
    told = Ranker(network, ImportanceName.BN_SCALE, 0, {}).notes
    assert told == ['no BatchNormalization for 1 groups: ordered by "l2"']
    assert Ranker(network, ImportanceName.BN_SCALE, 0, {"a": np.ones(16)}).notes == []
    assert Ranker(network, ImportanceName.OBS, 0, {}).notes == []


def test_gradients_are_taken_of_some_samples_spread_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    model = two_readers(UNET, (16, 4, 2, 2), 0)
    network, data = Network(model, find_channel_groups(model), ()), samples(model, 1) * (2 * MOST_TAYLOR_SAMPLES)
    data = [dict(sample, index=np.array(index)) for index, sample in enumerate(data)]
    given: list[list[int]] = []

    def watched(name: ImportanceName, evidence: Evidence) -> Ranking:
        assert evidence.samples is not None
        given.append([int(sample["index"]) for sample in evidence.samples])
        return Ranking({})

    monkeypatch.setattr(ranking, "rank", watched)
    for name in (ImportanceName.TAYLOR, ImportanceName.ACTIVATION):
        Ranker(network, name, 0, {}).orders(data)
    assert given == [list(range(0, len(data), 2)), list(range(len(data)))]
