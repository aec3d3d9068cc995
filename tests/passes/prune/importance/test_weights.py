"""Importances that need nothing but the model: L1, L2, BatchNormalization."""

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.graph.queries import constant_value
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.prune.groups import find_channel_groups
from edgekit.passes.prune.importance import bn_scale, l1, l2, rank
from edgekit.passes.prune.importance.bn_scale import batch_norm_scales
from edgekit.passes.prune.importance.evidence import Evidence
from edgekit.passes.prune.scheme import ImportanceName
from tests.passes.prune.importance.networks import chain, evidence, scale
from tests.passes.prune.networks import Builder


def weight(model: ir.Model, name: str) -> np.ndarray:
    array = constant_value(model.graph.initializers[name])
    assert array is not None
    return array.astype(np.float64)


@pytest.mark.parametrize(("kind", "power"), [(l1, 1), (l2, 2)])
def test_norms_of_all_layers_of_a_group_are_added(kind: object, power: int) -> None:
    """n0 makes 8 channels (c0), n2 reads them (c2); each layer's norms as shares of their mean."""
    model = chain()
    made = (np.abs(weight(model, "c0")) ** power).sum(axis=(1, 2, 3))
    read = (np.abs(weight(model, "c2")) ** power).sum(axis=(0, 2, 3))
    found = kind.scores(evidence(model, data=False))["n0_Conv"]  # type: ignore[attr-defined]
    np.testing.assert_allclose(found, made / made.mean() + read / read.mean())


@pytest.mark.parametrize("name", [ImportanceName.L1, ImportanceName.L2])
def test_the_unit_that_is_small_everywhere_goes_first_whatever_a_layers_scale(name: ImportanceName) -> None:
    model = chain()
    scale(model, "c0", 0, 5, 0.1)
    scale(model, "c2", 1, 5, 0.1)
    order = rank(name, evidence(model, data=False)).orders["n0_Conv"]
    assert order[0] == 5
    for index in range(8):
        scale(model, "c0", 0, index, 64.0)
    np.testing.assert_array_equal(rank(name, evidence(model, data=False)).orders["n0_Conv"], order)


def test_depthwise_layers_count() -> None:
    build = Builder(1, 2, 6, 6)
    hidden = build.conv(build.relu(build.conv("x", 8)), 8, 3, group=8)
    model = build.model(build.head(build.conv(build.relu(hidden), 4)))
    before = l2.scores(evidence(model, data=False))["n0_Conv"]
    scale(model, "c2", 0, 3, 10.0)
    after = l2.scores(evidence(model, data=False))["n0_Conv"]
    assert after[3] > before[3] + 1.0 and after.argmax() == 3


def test_units_of_several_channels_are_added_up() -> None:
    build = Builder(1, 6, 8)
    model = build.model(build.op("Reshape", build.attention("x", 4, 3), build.ints(1, 48)))
    known = evidence(model, data=False)
    (heads,) = [group for group in known.channels.groups if group.unit_channels == 3]
    scores = l2.scores(known)[heads.name]
    expected = np.zeros(4)
    for use in (*heads.producers, *heads.consumers):
        squares = np.moveaxis(weight(model, use.weight) ** 2, use.axis, 0)
        each = squares.reshape(4, -1).sum(axis=1)
        expected += each / each.mean()
    np.testing.assert_allclose(scores, expected)


def normalized_network() -> tuple[Evidence, ir.Model]:
    """Three groups: a BatchNormalization behind a convolution, one in front of the next, and none."""
    build = Builder(1, 3, 8, 8)
    first = build.relu(build.batch_norm(build.conv("x", 6, bias=False)))
    second = build.conv(first, 5)
    second = build.op("Add", second, build.op("Sigmoid", second))
    third = build.relu(build.conv(build.relu(build.batch_norm(second)), 4))
    imported = build.plain(build.head(third))
    model = canonicalize(imported)
    return Evidence(model, find_channel_groups(model), scales=batch_norm_scales(imported)), imported


def test_batch_norm_scales_survive_their_folding() -> None:
    known, imported = normalized_network()
    norms = [node for node in imported.graph if node.op_type == "BatchNormalization"]
    assert not any(node.op_type == "BatchNormalization" for node in known.model.graph)
    scores = bn_scale.scores(known)
    first, second, third = known.channels.groups
    assert set(scores) == {first.name, second.name}
    for group, node in zip((first, second), norms, strict=True):
        gamma = constant_value(node.inputs[1])
        assert gamma is not None
        np.testing.assert_allclose(scores[group.name], gamma / gamma.mean(), rtol=1e-6)
    ranking = rank(ImportanceName.BN_SCALE, known)
    assert ranking.by_norm == (third.name,)
    np.testing.assert_array_equal(ranking.orders[third.name], rank(ImportanceName.L2, known).orders[third.name])


def test_negative_scales_count_by_magnitude() -> None:
    build = Builder(1, 3, 8, 8)
    normalized = build.batch_norm(build.conv("x", 4))
    build.constants["c2"] = np.array([-3.0, 1.0, -0.5, 2.0], np.float32)
    imported = build.plain(build.head(build.relu(normalized)))
    model = canonicalize(imported)
    known = Evidence(model, find_channel_groups(model), scales=batch_norm_scales(imported))
    assert list(rank(ImportanceName.BN_SCALE, known).orders["n0_Conv"]) == [2, 1, 3, 0]
