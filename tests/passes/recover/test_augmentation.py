"""Changed inputs stay inputs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.passes.recover.augmentation import Augmentation, image_axes
from edgekit.passes.recover.settings import RecoverySettings

PLAIN = RecoverySettings(flips=False, shifts=False, mixing=False)


def augmented(array: np.ndarray, seed: int = 0, **switches: bool) -> np.ndarray:
    changed, _ = Augmentation(replace(PLAIN, **switches), np.random.default_rng(seed))({"x": array}, None)
    assert changed["x"].shape == array.shape
    assert changed["x"].dtype == array.dtype
    return changed["x"]


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((1, 3, 32, 24), (2, 3)),
        ((1, 32, 24, 3), (1, 2)),
        ((1, 28, 28, 1), (1, 2)),
        ((1, 16, 32, 32), None),
        ((1, 3, 4, 4), None),
        ((1, 100), None),
    ],
)
def test_what_looks_like_an_image(shape: tuple[int, ...], axes: tuple[int, int] | None) -> None:
    assert image_axes(shape) == axes


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 100), st.sampled_from([(3, 1, 16, 16), (3, 16, 16, 1)]))
def test_flips_and_shifts_move_pixels_without_inventing_any(seed: int, shape: tuple[int, ...]) -> None:
    batch = np.random.default_rng(seed).normal(size=(4, *shape[1:])).astype(np.float32)[:, None].repeat(3, 1)
    moved = augmented(batch[:, :1], seed, flips=True, shifts=True)
    assert np.isin(moved, batch).all()
    for before, after in zip(batch[:, :1], moved, strict=True):
        assert np.isin(after, before).all()
        # At most two rows of sixteen are lost at each side.
        assert np.isin(before.reshape(16, 16)[2:-2, 2:-2], after).all()


def test_half_of_the_samples_are_mirrored_exactly() -> None:
    batch = np.arange(64 * 64, dtype=np.float32).reshape(64, 1, 1, 8, 8)
    moved = augmented(batch, flips=True)
    same = (moved == batch).all(axis=(1, 2, 3, 4))
    mirrored = (moved == batch[..., ::-1]).all(axis=(1, 2, 3, 4))
    assert (same ^ mirrored).all()
    assert 16 <= mirrored.sum() <= 48


def test_mixing_stays_between_two_samples_and_mixes_the_targets_alike() -> None:
    batch = np.eye(32, dtype=np.float32)[:, None]
    augment = Augmentation(replace(PLAIN, mixing=True), np.random.default_rng(0))
    changed, targets = augment({"x": batch}, batch)
    assert targets is not None
    np.testing.assert_array_equal(changed["x"], targets)
    np.testing.assert_allclose(targets.sum(-1), 1, rtol=1e-6)
    untouched = (changed["x"] == batch).all(axis=(1, 2)).mean()
    assert 0.25 < untouched < 0.8
    assert (np.diagonal(changed["x"][:, 0]) >= 0.5).all()


def test_whole_numbers_are_left_alone() -> None:
    tokens = np.arange(40).reshape(4, 1, 10)
    np.testing.assert_array_equal(augmented(tokens, mixing=True, flips=True, shifts=True), tokens)


def test_off_is_off() -> None:
    batch = np.random.default_rng(0).normal(size=(4, 1, 3, 16, 16)).astype(np.float32)
    np.testing.assert_array_equal(augmented(batch), batch)
