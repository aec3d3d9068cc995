"""Samples for the emulator."""

import numpy as np
import pytest

from edgekit.emulation.agreement import Emulated
from edgekit.interface import TensorSpec
from edgekit.verification import random_samples
from edgekit.verification.recheck_data import spread


@pytest.mark.parametrize(
    ("batch", "count", "chosen"), [(1, 4, [0, 4, 8, 12]), (4, 8, [0, 2]), (4, 3, [0]), (8, 99, [0, 1])]
)
def test_so_many_samples_are_chosen_whatever_the_batch(batch: int, count: int, chosen: list[int]) -> None:
    specs = [TensorSpec("x", "float32", (batch, 3))]
    samples = random_samples(specs, 16, specs)
    every = [sample["x"] for sample in samples]
    found = [sample["x"] for sample in spread(samples, count)]
    assert len(found) == len(chosen)
    for at, values in zip(chosen, found, strict=True):
        np.testing.assert_array_equal(values, every[at])


def test_what_was_emulated_is_told_as_a_user_counts() -> None:
    emulated = Emulated("i8mm", 2, 0.0, 0.0, 0.0, 0.0).counted_by(4)
    assert emulated.samples == emulated.to_json()["samples"] == 8
