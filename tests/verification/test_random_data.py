import numpy as np
import pytest

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


IMAGES = TensorSpec("images", "float32", (4, 3, 8, 8))


@pytest.mark.parametrize(("count", "passes"), [(16, 4), (18, 4), (3, 1)])
def test_a_fixed_batch_is_as_many_samples(count, passes):
    samples = random_samples([IMAGES], count, [TensorSpec("scores", "float32", (4, 10))])
    assert (samples.batch, len(samples), len(list(samples))) == (4, passes, passes)
    assert {sample["images"].shape for sample in samples} == {(4, 3, 8, 8)}


@pytest.mark.parametrize("outputs", [[], [TensorSpec("scores", "float32", (10,))], [TensorSpec("sum", "float32", ())]])
def test_a_first_axis_that_the_outputs_have_not_is_no_batch(outputs):
    samples = random_samples([IMAGES], 16, outputs)
    assert (samples.batch, len(samples)) == (1, 16)
