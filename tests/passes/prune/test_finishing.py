from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.errors import EdgekitError
from edgekit.passes.prune import finishing, removal
from edgekit.passes.prune.branches import find_branches
from edgekit.passes.prune.build import Built, Network
from edgekit.passes.prune.finishing import shrink
from edgekit.passes.prune.groups import find_channel_groups
from tests.passes.prune.groups.graphs import graph

TEXT = (
    "(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z) "
    "{ c = Conv(x, w) r = Relu(c) y = Conv(r, v) s = Conv(x, u) t = Log(s) z = Abs(t) }"
)
WEIGHTS = {"w": (8, 3, 1, 1), "v": (2, 8, 1, 1), "u": (2, 3, 1, 1)}
POSITIVE = {"x": np.ones((1, 3, 4, 4), np.float32)}


def network() -> Network:
    """The second output is finite on positive numbers only."""
    model = graph(TEXT, **(WEIGHTS | {"u": np.full((2, 3, 1, 1), 0.5, np.float32)}))
    groups = find_channel_groups(model)
    return Network(model, groups, find_branches(model, groups))


def halved(network: Network) -> Built:
    """Half of the channels are gone."""
    (group,) = network.channels.groups
    removed = np.zeros(network.channels.unit_count, np.bool_)
    removed[list(group.units[::2])] = True
    weight = network.model.graph.initializers["v"].const_value
    assert weight is not None
    return Built({"v": weight.numpy() * (np.arange(8) % 2).reshape(1, 8, 1, 1).astype(np.float32)}, removed)


def broken(monkeypatch: pytest.MonkeyPatch, change: Callable[[ir.Model], None]) -> None:
    """What removal gives is changed."""

    def wrong(*given: object) -> ir.Model:
        model = removal.remove(*given)  # type: ignore[arg-type]
        change(model)
        return model

    monkeypatch.setattr(finishing, "remove", wrong)


def test_the_smaller_network_computes_the_same() -> None:
    whole = network()
    for sample in (POSITIVE, {"x": -POSITIVE["x"]}, None):
        small = shrink(whole, halved(whole), (), sample)
        assert small.graph.initializers["v"].shape == ir.Shape((2, 4, 1, 1))


@pytest.mark.parametrize("number", [np.nan, np.inf, 3.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_other_numbers_are_noticed(monkeypatch: pytest.MonkeyPatch, number: float, sign: int) -> None:
    """Even in the output that is not a number at all on the sample that is given."""

    def spoil(model: ir.Model) -> None:
        model.graph.initializers["u"].const_value = ir.tensor(np.full((2, 3, 1, 1), number, np.float32), name="u")

    broken(monkeypatch, spoil)
    whole = network()
    with pytest.raises(EdgekitError, match=r"output 'z': the smaller network gives .*please report"):
        shrink(whole, halved(whole), (), {"x": sign * POSITIVE["x"]})


def test_another_shape_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def shorten(model: ir.Model) -> None:
        model.graph.initializers["v"].const_value = ir.tensor(np.ones((1, 4, 1, 1), np.float32), name="v")
        model.graph.initializers["v"].shape = ir.Shape((1, 4, 1, 1))
        for value in model.graph.outputs[:1]:
            value.shape = ir.Shape((1, 1, 4, 4))

    broken(monkeypatch, shorten)
    monkeypatch.setattr(finishing, "canonicalize", lambda model: model)
    whole = network()
    with pytest.raises(EdgekitError, match=r"output 'y': .*shape \[1, 1, 4, 4\], the one with zeros \[1, 2, 4, 4\]"):
        shrink(whole, halved(whole), (), POSITIVE)


def test_numbers_that_removal_makes_infinite_are_noticed() -> None:
    """The one with zeros gives them too: with no channel left something is divided by zero."""
    text = "(float[1,3,4,4] x) => (float[1,2,4,4] y) { c = Conv(x, w) r = Relu(c) d = Conv(r, v) y = Reciprocal(d) }"
    model = graph(text, **{name: WEIGHTS[name] for name in ("w", "v")})
    groups = find_channel_groups(model)
    whole = Network(model, groups, ())
    built = halved(whole)
    built.weights["v"][:] = 0
    with pytest.raises(EdgekitError, match=r"output 'y': .*not finite where the whole one's are"):
        shrink(whole, built, (), POSITIVE)
