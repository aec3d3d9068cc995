"""onnxruntime merges zeros into the MaxPool behind them, as minus infinity; canonical graphs say them otherwise."""

import numpy as np
import onnxruntime
import pytest

from edgekit.graph.activations import session_of
from edgekit.graph.pads import SpellOutPads
from edgekit.graph.storage import to_bytes
from edgekit.passes.canonicalize import canonicalize
from tests.passes.canonicalize.rewriting import build, noise, ops, random_feeds, rewritten, run

POOL = "MaxPool<kernel_shape = [3, 3], strides = [2, 2]>"
PADS = np.array([0, 0, 1, 1, 0, 0, 1, 0])


def padded(body: str, **constants):
    # Below zero everywhere, so that every zero of the padding wins.
    return build({"x": (1, 3, 8, 9)}, "y", f"a = Abs(x)\nn = Neg(a)\n{body}", **{"pads": PADS, **constants})


def optimized(model, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(to_bytes(model), options, providers=["CPUExecutionProvider"])
    return session.run(None, random_feeds(model))[0]


@pytest.mark.parametrize("value", ["", ", zero"])
@pytest.mark.parametrize("level", ["BASIC", "EXTENDED", "LAYOUT", "ALL"])
def test_onnxruntime_leaves_the_pads_of_a_canonical_graph(level, value) -> None:
    model = padded(f"p = Pad(n, pads{value})\nm = {POOL}(p)\ny = Conv(m, w)", zero=np.float32(0), w=noise(4, 3, 1, 1))
    expected = run(model, random_feeds(model))["y"]
    number = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    # onnxruntime 1.17 to 1.31 get ``model`` itself wrong.
    np.testing.assert_allclose(optimized(canonicalize(model), number), expected, atol=1e-5)


def test_what_runs_graphs_inside_edgekit_sees_the_zeros() -> None:
    model = canonicalize(padded(f"p = Pad(n, pads)\ny = {POOL}(p)"))
    feeds = random_feeds(model)
    np.testing.assert_array_equal(session_of(model).run(None, feeds)[0], run(model, feeds)["y"])


@pytest.mark.parametrize(
    "body",
    [
        "p = Pad(n, pads)\ny = MaxPool<kernel_shape = [3, 3]>(p)",
        "p = Pad(n, pads)\nr = Relu(p)\ny = MaxPool<kernel_shape = [3, 3]>(r)",
        "p = Pad(n, pads, two)\ny = MaxPool<kernel_shape = [3, 3]>(p)",
        "p = Pad(n, few, two, axes)\ny = MaxPool<kernel_shape = [3, 3]>(p)",
    ],
)
def test_a_pad_that_meets_a_pool_has_axes(body) -> None:
    after = rewritten(
        padded(body, two=np.float32(2), few=np.array([1, 1, 0, 1]), axes=np.array([-1, 2])), SpellOutPads()
    )
    (pad,) = (node for node in after.graph if node.op_type == "Pad")
    assert pad.inputs[1].const_value.numpy().tolist() == PADS.tolist()
    assert pad.inputs[3].const_value.numpy().tolist() == [0, 1, 2, 3]
    assert not SpellOutPads()(after).modified


@pytest.mark.parametrize(
    "body",
    [
        "p = Pad(n, pads)\ny = AveragePool<kernel_shape = [3, 3]>(p)",
        'p = Pad<mode = "edge">(n, pads)\ny = MaxPool<kernel_shape = [3, 3]>(p)',
    ],
)
def test_other_pads_stay_as_they_are(body) -> None:
    model = padded(body)
    assert not SpellOutPads()(model).modified
    assert ops(model)[2] == "Pad" and len(model.graph.node(2).inputs) == 2


def test_other_pads_have_amounts_for_every_axis() -> None:
    body = 'p = Pad<mode = "edge">(n, few, , axes)\ny = AveragePool<kernel_shape = [3, 3]>(p)'
    after = rewritten(padded(body, few=np.array([1, 1, 0, 1]), axes=np.array([-1, 2])), SpellOutPads())
    assert [value and value.const_value.numpy().tolist() for value in after.graph.node(2).inputs[1:]] == [
        PADS.tolist(),
        None,
    ]
