"""What recovery starts from: a network that has not seen the samples that judge it."""

import numpy as np
import pytest

from edgekit.data import open_samples
from edgekit.importers import import_model
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.prune import Pruner, PruningScheme
from edgekit.passes.recover import RecoverySettings, held_back_indices
from edgekit.pruning.recovery import FittedSamples


@pytest.fixture(scope="module")
def source(classifier):
    return import_model(classifier)


def test_what_judges_is_left_out(source, calibration):
    samples = open_samples(str(calibration), source.inputs)
    fitted = FittedSamples(samples)
    held_back = held_back_indices(len(samples), RecoverySettings())
    everything = [sample["image"] for sample in samples]
    left = [sample["image"] for sample in fitted]
    assert len(left) == len(fitted) == len(samples) - len(held_back)
    for index in held_back.tolist():
        assert not any(np.array_equal(everything[index], image) for image in left)
    assert len(list(fitted)) == len(left), "it can be read again"


def test_the_same_is_removed_and_made_up_for_on_other_samples(source, calibration):
    graph = canonicalize(source.model)
    samples = open_samples(str(calibration), source.inputs)
    pruner = Pruner(graph, samples, PruningScheme())
    pruned = pruner.prune(0.3)
    start = pruner.fitted(pruned, FittedSamples(samples))
    assert start is not None
    shapes = [
        {name: tuple(value.shape.numpy()) for name, value in model.graph.initializers.items() if value.shape}
        for model in (pruned.model, start)
    ]
    assert shapes[0] == shapes[1]
    changed = [
        name
        for name, value in pruned.model.graph.initializers.items()
        if not np.array_equal(value.const_value.numpy(), start.graph.initializers[name].const_value.numpy())
    ]
    assert changed


def test_without_samples_nothing_was_fitted(source, calibration):
    pruner = Pruner(canonicalize(source.model), None, PruningScheme())
    samples = open_samples(str(calibration), source.inputs)
    assert pruner.fitted(pruner.prune(0.3), FittedSamples(samples)) is None
