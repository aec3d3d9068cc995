"""Importances that need samples: activations and gradients."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.graph.queries import constant_value
from edgekit.passes.prune.groups import WeightUse
from edgekit.passes.prune.importance import activation, taylor
from edgekit.passes.prune.importance.evidence import Evidence, powers
from edgekit.passes.prune.network import Sample, activations
from tests.passes.prune.importance.networks import chain, evidence, samples, scale
from tests.passes.prune.networks import Builder


def residual() -> ir.Model:
    """A stream of 6 channels that two blocks add to: three layers read it."""
    build = Builder(1, 3, 5, 5)
    stream = build.relu(build.conv("x", 6))
    for _ in range(2):
        stream = build.op("Add", stream, build.conv(build.relu(build.conv(stream, 4)), 6))
    return build.model(build.head(stream, 3))


def test_activation_is_the_energy_that_reaches_the_consumers_weights() -> None:
    model = chain()
    known = evidence(model)
    assert known.samples is not None
    source, weight = model.graph.node("n2_Conv").inputs[:2]
    assert source is not None
    energy = sum(
        (each[0].astype(np.float64) ** 2).sum(axis=(0, 2, 3))
        for each in activations(model, [source.name or ""], known.samples)
    )
    array = constant_value(weight)
    assert array is not None
    expected = energy * (array.astype(np.float64) ** 2).sum(axis=(0, 2, 3))
    np.testing.assert_allclose(activation.scores(known)["n0_Conv"], expected / expected.mean(), rtol=1e-5)


def test_powers_of_float16_do_not_overflow() -> None:
    array = np.full((2, 300), 300.0, np.float16)
    np.testing.assert_array_equal(powers(array, 0, 2), [300 * 90_000.0] * 2)


def test_a_channel_that_never_fires_goes_first() -> None:
    model = chain()
    scale(model, "c0", 0, 4, 0.0)
    scale(model, "c1", 0, 4, 0.0)
    scale(model, "c2", 1, 4, 100.0)
    scores = activation.scores(evidence(model))["n0_Conv"]
    assert scores[4] == 0.0 and (np.delete(scores, 4) > 0).all()


@pytest.mark.slow
def test_taylor_is_the_slope_of_the_loss_when_consumers_read_less_of_a_unit() -> None:
    """Against central differences: each unit's columns of all its consumers a little larger, and a little smaller."""
    model = residual()
    known = Evidence(model, evidence(model).channels, samples(model, 3))
    assert max(len(group.consumers) for group in known.channels.groups) == 3
    scores = taylor.scores(known)
    assert known.samples is not None
    for group in known.channels.groups:
        for position, unit in enumerate(group.units):
            expected = sum(_slope(known, group.consumers, unit, sample) ** 2 for sample in known.samples)
            assert scores[group.name][position] == pytest.approx(expected, rel=0.05, abs=1e-6)


def _slope(known: Evidence, consumers: Sequence[WeightUse], unit: int, sample: Sample, step: float = 5e-3) -> float:
    losses = []
    label = _logits(known.model, sample).argmax()
    for factor in (1 + step, 1 - step):
        changed = known.model.clone()
        for use in consumers:
            for index in np.flatnonzero(known.channels.axes[use.weight, use.axis] == unit):
                scale(changed, use.weight, use.axis, int(index), factor)
        logits = _logits(changed, sample)
        losses.append(np.log(np.exp(logits).sum()) - logits[label])
    return float(losses[0] - losses[1]) / (2 * step)


def _logits(model: ir.Model, sample: Sample) -> np.ndarray:
    (arrays,) = activations(model, [model.graph.outputs[0].name or ""], [sample])
    return arrays[0].reshape(-1).astype(np.float64)
