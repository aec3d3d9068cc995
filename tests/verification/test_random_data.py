import numpy as np

from edgekit.interface import TensorSpec
from edgekit.verification import random_samples

INPUTS = (
    TensorSpec("a", "float32", (1, 4)),
    TensorSpec("b", "float32", (1, 4)),
    TensorSpec("ids", "int64", (1, 6)),
    TensorSpec("mask", "bool", (1, 6)),
)


def test_every_pass_gives_the_same_samples():
    samples = random_samples(INPUTS, 3)
    first, second = list(samples), list(samples)
    assert len(first) == len(samples) == 3
    for left, right in zip(first, second, strict=True):
        for name in left:
            np.testing.assert_array_equal(left[name], right[name])


def test_samples_and_inputs_differ_from_each_other():
    first, second, _ = random_samples(INPUTS, 3)
    assert not np.array_equal(first["a"], second["a"])
    assert not np.array_equal(first["a"], first["b"])


def test_types_and_shapes_are_the_models():
    [sample] = random_samples(INPUTS, 1)
    assert {name: (array.dtype.name, array.shape) for name, array in sample.items()} == {
        spec.name: (spec.dtype, spec.shape) for spec in INPUTS
    }
    assert set(sample["ids"].ravel()) <= {0, 1}
