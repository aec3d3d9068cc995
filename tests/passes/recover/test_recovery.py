"""Recovery end to end on a small network."""

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.errors import DataError, DependencyError, ModelError, UnsupportedError, UsageError
from edgekit.graph.storage import to_bytes
from edgekit.interface import Precision
from edgekit.passes.quantize import Calibration, QuantizationScheme, calibrate, quantize
from edgekit.passes.recover import (
    RecoverySettings,
    held_back_indices,
    quantization_aware,
    recover,
    recovery,
)
from edgekit.passes.recover.network import replace_weights, trained_weights
from edgekit.passes.recover.report import Stopped
from tests.exporters.tflite.graphs import Builder
from tests.passes.recover.networks import samples, teacher, worse
from tests.passes.recover.running import outputs

QUICK = RecoverySettings(steps=60, batch_size=8, learning_rates=(1e-2,))


def divergence(taught: np.ndarray, given: np.ndarray) -> float:
    def log_softmax(x: np.ndarray) -> np.ndarray:
        return x - np.log(np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True)) - x.max(1, keepdims=True)

    a, b = log_softmax(taught.astype(np.float64)), log_softmax(given.astype(np.float64))
    return float((np.exp(a) * (a - b)).sum(1).mean())


def test_a_worse_network_comes_nearer_to_its_source() -> None:
    source, student, new = teacher(), worse(teacher()), samples(40, seed=9)
    recovered = recover(student, source, samples(80), QUICK)
    report = recovered.report
    assert report.improved
    assert report.steps == report.planned_steps == 60
    assert report.best_loss < 0.7 * report.start_loss
    before, after = (divergence(outputs(source, new), outputs(model, new)) for model in (student, recovered.model))
    assert after < 0.8 * before
    assert [node.name for node in recovered.model.graph] == [node.name for node in student.graph]


def test_the_held_back_loss_is_what_onnxruntime_gives() -> None:
    source, student, given = teacher(probabilities=True), worse(teacher(probabilities=True)), samples(40)
    report = recover(student, source, given, replace(QUICK, steps=1)).report
    held = [given[index] for index in held_back_indices(len(given), QUICK)]
    taught, found = (np.log(outputs(model, held)) for model in (source, student))
    assert report.held_back_samples == len(held) == 8
    np.testing.assert_allclose(report.start_loss, divergence(taught, found), rtol=1e-4)


def test_two_runs_give_the_same_bytes() -> None:
    source, student = teacher(), worse(teacher())
    first, second = (recover(student, source, samples(80), QUICK) for _ in range(2))
    assert first.report.improved
    assert to_bytes(first.model) == to_bytes(second.model)
    assert first.report.to_json() == second.report.to_json()


def test_nothing_better_gives_the_start_back_and_says_so() -> None:
    source = teacher()
    recovered = recover(source, source, samples(40), replace(QUICK, steps=5))
    assert recovered.model is source
    assert not recovered.report.improved
    assert recovered.report.best_loss == recovered.report.start_loss
    assert "found nothing better than the start" in recovered.report.sentence


def test_the_best_of_several_learning_rates_goes_on() -> None:
    settings = replace(QUICK, learning_rates=(1e-6, 1e-2, 10.0))
    report = recover(worse(teacher()), teacher(), samples(40), settings).report
    assert report.learning_rate == 1e-2
    assert [rate for rate, _ in report.trials] == [1e-6, 1e-2, 10.0]


def test_what_a_trial_found_is_not_lost() -> None:
    settings = replace(QUICK, steps=1, learning_rates=(1e-2, 3e-2))
    recovered = recover(worse(teacher()), teacher(), samples(40), settings)
    report = recovered.report
    best = min(loss for _, loss in report.trials)
    assert report.from_trial and report.improved and report.trial_steps == 20
    assert report.best_loss == best < report.start_loss
    assert (report.learning_rate, best) in report.trials
    assert "a trial of 20 steps" in report.sentence and report.warning is None
    held = [samples(40)[index] for index in held_back_indices(40, settings)]
    taught, given = (outputs(model, held) for model in (teacher(), recovered.model))
    np.testing.assert_allclose(divergence(taught, given), report.best_loss, rtol=1e-3)


def test_without_a_gain_for_long_it_stops() -> None:
    settings = replace(QUICK, learning_rates=(1.0,), patience=0.05)
    report = recover(worse(teacher()), teacher(), samples(40), settings).report
    assert report.stopped is Stopped.NO_PROGRESS
    assert report.steps < 60


def test_the_time_limit_cuts() -> None:
    settings = replace(QUICK, steps=10**7, time_limit_s=5.0, patience=1.0)
    report = recover(worse(teacher()), teacher(), samples(40), settings).report
    assert report.stopped is Stopped.TIME_LIMIT
    assert report.steps < report.planned_steps == 10**7
    assert report.warning is not None and f"{report.steps:,} step" in report.warning
    assert "of 10,000,000 planned" in report.warning
    assert report.best_loss <= report.start_loss


def test_an_honest_start_is_trained_and_the_student_kept_when_that_is_no_gain() -> None:
    source, student, start = teacher(), worse(teacher(), 0.1), worse(teacher(), 0.3)
    trained = recover(student, source, samples(40), QUICK, start=start)
    assert trained.report.improved
    kept = recover(student, source, samples(40), replace(QUICK, steps=3, learning_rates=(1e-9,)), start=start)
    assert kept.model is student


def test_outputs_that_are_no_scores_are_compared_by_their_error() -> None:
    builder = Builder()
    x = builder.input("x", (1, 3, 8, 8))
    weight = np.random.default_rng(0).normal(size=(3, 3, 3, 3)).astype(np.float32)
    x = builder.node("Conv", [x, weight], "y", pads=[1] * 4)
    source = ir.from_proto(builder.model(builder.node("Tanh", [x], "image")))
    report = recover(worse(source), source, samples(40), QUICK).report
    assert report.loss_name == "relative squared error"
    assert report.best_loss < 0.5 * report.start_loss


def test_a_first_step_is_no_gain_however_it_looks() -> None:
    source = teacher()
    student, settings = worse(source, 1.0), replace(QUICK, steps=1, learning_rates=(0.1,))
    assert recover(student, source, samples(40), settings).report.improved  # as it was asked for
    cut = recover(student, source, samples(40), replace(settings, steps=10**6, time_limit_s=1e-3))
    assert cut.report.steps == 1 and not cut.report.improved
    assert cut.model is student


def test_labels_add_what_the_source_does_not_know() -> None:
    source, given = teacher(), samples(80)
    labels = np.zeros(len(given), np.int64)
    settings = replace(QUICK, label_weight=5.0)
    plain = recover(worse(source), source, given, settings)
    labelled = recover(worse(source), source, given, settings, labels=labels)
    shares = [(outputs(each.model, given).argmax(1) == 0).mean() for each in (plain, labelled)]
    assert shares[1] > shares[0] + 0.3


def test_quantization_aware_training_makes_int8_lose_less() -> None:
    weights = trained_weights(teacher())
    for name in ("c0", "c3"):
        weights[name] = weights[name] * np.where(np.arange(8) == 0, 8, 1).reshape(8, 1, 1, 1)
    # One scale for all channels: those that are small beside the first have a few codes left.
    source, given, new = replace_weights(teacher(), weights), samples(256), samples(200, seed=9)
    scheme = QuantizationScheme(Precision.INT8, weight_bits=7, weight_granularity="per_tensor")
    recovered = recover(source, source, given, replace(QUICK, steps=400, learning_rates=(3e-3,), quantization=scheme))
    assert recovered.report.quantization_aware
    losses = []
    for model in (source, recovered.model):
        codes = quantize(model, scheme, calibrate(model, given, observer=scheme.observer, moments=False))
        losses.append(divergence(outputs(source, new), outputs(codes, new)))
    assert losses[1] < 0.9 * losses[0]


def test_ranges_of_quantization_aware_training_come_from_samples_of_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []

    def listening(model: ir.Model, given: Iterable[Mapping[str, np.ndarray]], **keywords: Any) -> Calibration:
        rows = list(given)
        seen.extend(row["x"] for row in rows)
        return calibrate(model, rows, **keywords)

    monkeypatch.setattr(quantization_aware, "calibrate", listening)
    monkeypatch.setattr(recovery, "MOST_CALIBRATED", 20)
    source, given = teacher(), samples(80)
    settings = replace(QUICK, steps=1, quantization=QuantizationScheme(Precision.INT8))
    recover(source, source, given, settings)
    held = held_back_indices(len(given), settings)
    fitted = [each["x"] for index, each in enumerate(given) if index not in held]
    assert len(seen) == 20
    places = [next(index for index, each in enumerate(fitted) if np.array_equal(each, row)) for row in seen]
    assert places[0] == 0 and places[-1] == len(fitted) - 1
    assert set(np.diff(places)) <= {3, 4}


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(DataError, match="recovery: 15 samples; expected at least 16"):
        recover(teacher(), teacher(), samples(15), QUICK)


def test_a_sample_without_an_input_is_named() -> None:
    with pytest.raises(DataError, match="sample 1 has no array 'x'"):
        recover(teacher(), teacher(), [samples(1)[0], {}], QUICK)


def test_labels_of_another_number_are_refused() -> None:
    with pytest.raises(DataError, match="17 labels for 20 samples"):
        recover(teacher(), teacher(), samples(20), QUICK, labels=np.zeros(17, np.int64))


def test_another_interface_is_refused() -> None:
    with pytest.raises(ModelError, match="expected the same"):
        recover(teacher(outputs=3), teacher(), samples(20), QUICK)


def test_an_operator_without_a_gradient_is_named_before_the_data_is_read() -> None:
    builder = Builder()
    builder.node("Atan", [builder.input("x", (1, 3))], "y")
    model = ir.from_proto(builder.model("y"))
    with pytest.raises(UnsupportedError, match="source network: Atan node 'Atan_0' cannot be trained"):
        recover(model, model, iter(()), QUICK)


def test_without_tensorflow_there_is_a_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorflow" else found(name))
    with pytest.raises(DependencyError, match=r"recovery .* needs TensorFlow: pip install 'edgekit\[tensorflow\]'"):
        recover(teacher(), teacher(), samples(20), QUICK)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"time_limit_s": 0}, "recovery: time_limit_s = 0; expected a number above 0"),
        ({"held_back": 1.0}, "held_back = 1.0; expected a share between 0 and 1"),
        ({"learning_rates": ()}, "learning_rates"),
        ({"steps": 0}, "steps = 0; expected at least 1"),
        ({"block_weight": -1}, "block_weight = -1"),
        ({"quantization": QuantizationScheme(Precision.FP16)}, "expected a scheme of static int8"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RecoverySettings(**wrong)
