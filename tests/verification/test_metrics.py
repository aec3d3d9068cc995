import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgekit.verification.metrics import SQNR_LIMIT_DB, Accuracy, OutputError, Share, Verification, top1_classes

FLOATS = hnp.arrays(np.float32, (2, 5), elements=st.floats(-1e6, 1e6, width=32))
PAIRS = st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=6)


def measured(pairs) -> OutputError:
    error = OutputError()
    for reference, artifact in pairs:
        error.update(reference, artifact)
    return error


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_samples_changes_nothing_at_all(pairs, random):
    shuffled = list(pairs)
    random.shuffle(shuffled)
    first, second = measured(pairs), measured(shuffled)
    assert (first.sqnr_db, first.cosine, first.max_abs_error) == (second.sqnr_db, second.cosine, second.max_abs_error)


@given(PAIRS)
def test_the_definitions_hold(pairs):
    y, y_hat = (np.concatenate([np.float64(p[i]).ravel() for p in pairs]) for i in (0, 1))
    signal, noise, power = (y**2).sum(), ((y - y_hat) ** 2).sum(), (y_hat**2).sum()
    error = measured(pairs)
    assert error.max_abs_error == np.abs(y - y_hat).max()
    assert -1.0 <= error.cosine <= 1.0
    if signal > 1e-30 and noise > 1e-30:
        decibels = np.clip(10 * (np.log10(signal) - np.log10(noise)), -SQNR_LIMIT_DB, SQNR_LIMIT_DB)
        assert error.sqnr_db == pytest.approx(decibels, abs=1e-6)
    if signal > 1e-30 and power > 1e-30:
        assert error.cosine == pytest.approx(np.dot(y / np.sqrt(signal), y_hat / np.sqrt(power)), abs=1e-6)


def test_equal_outputs_are_at_the_limit_and_finite():
    error = measured([(np.ones(3, np.float32), np.ones(3, np.float32))])
    assert (error.sqnr_db, error.max_abs_error) == (SQNR_LIMIT_DB, 0.0)
    assert error.cosine == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("reference", "artifact", "sqnr", "cosine"),
    [(0.0, 0.0, SQNR_LIMIT_DB, 1.0), (0.0, 1.0, -SQNR_LIMIT_DB, 0.0), (1.0, 0.0, 0.0, 0.0), (1.0, -1.0, -6.0206, -1.0)],
)
def test_zeros_and_opposites(reference, artifact, sqnr, cosine):
    error = measured([(np.full(4, reference, np.float32), np.full(4, artifact, np.float32))])
    assert error.sqnr_db == pytest.approx(sqnr, abs=1e-3)
    assert error.cosine == pytest.approx(cosine)


def test_a_known_signal_to_noise_ratio():
    y = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    assert measured([(y, y * np.float32(1.1))]).sqnr_db == pytest.approx(20.0, abs=1e-3)


def test_numbers_beyond_float64_squares_do_not_overflow():
    assert math.isfinite(measured([(np.full(3, 1e150), np.full(3, 2e150))]).sqnr_db)


def test_top1_and_top5_count_what_they_say():
    accuracy = Accuracy()
    scores = np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]], np.float32)
    for label in (6, 5, 1):
        accuracy.update(scores, np.array([label]))
    assert accuracy.top1 == pytest.approx(100 / 3)
    assert accuracy.top5 == pytest.approx(200 / 3)


def test_top5_of_five_classes_says_nothing():
    accuracy = Accuracy()
    accuracy.update(np.eye(5, dtype=np.float32)[:1], np.array([0]))
    assert (accuracy.top1, accuracy.top5) == (100.0, None)


def test_a_batch_is_as_many_samples():
    accuracy = Accuracy()
    accuracy.update(np.eye(3, dtype=np.float32), np.array([0, 1, 0]))
    assert accuracy.top1 == pytest.approx(200 / 3)


def test_equal_scores_are_won_by_the_first_as_in_argmax():
    scores = np.array([[1, 2, 2], [3, 3, 3]], np.int8)
    assert top1_classes(scores).tolist() == [1, 0]


def test_no_samples_is_unknown_not_zero():
    assert Share().percent is None
    assert Accuracy().top1 is None


def test_the_document_leaves_out_what_labels_would_tell():
    document = Verification("onnxruntime 1.31", 3, 30.0, 0.999, 0.1, top1_agreement=None).to_json()
    assert document["top1_agreement"] is None
    assert not document.keys() & {"top1", "top1_float", "top5", "format_agreement"}
