"""What is told beside a gate that was missed."""

import pytest

from edgekit.passes.prune import PruningReport
from edgekit.passes.recover.report import RecoveryReport, Stopped
from edgekit.pruning.explanation import explain
from edgekit.verification.verification import EXPORT_ADVICE


def pruned(*notes: str) -> PruningReport:
    return PruningReport("l2", 100, 70, 100, 70, None, "", "none", (), (), notes)


def recovery(*, improved: bool, stopped: Stopped = Stopped.FINISHED) -> RecoveryReport:
    trials = ((1e-3, 0.3),)
    figures = (improved, "KL (nats)", 0.4, 0.3, 1e-3, trials, 20, False, 7, 1200, 1.0, 8, 32, 8, False, stopped, 5.0)
    return RecoveryReport(*figures)


def test_where_nothing_was_removed_it_is_as_without_pruning():
    found = explain(None, None, None, judged=False)
    assert (found.cause, found.advice) == ("", EXPORT_ADVICE)


@pytest.mark.parametrize(
    ("samples", "judged", "behind"),
    [(None, False, "; judged on random samples"), ([0] * 3, False, "; judged on 3 samples"), (None, True, "")],
)
def test_without_data_that_is_the_cause_and_samples_the_advice(samples, judged, behind):
    found = explain(pruned("fell back to l2"), None, samples, judged=judged)
    assert found.cause == f"fell back to l2{behind}"
    assert "--calibration" in found.advice and "--max-drop" not in found.advice and "--recover" not in found.advice


def test_samples_are_counted_where_the_model_takes_several_at_once():
    found = explain(pruned("fell back to l2"), None, [0] * 3, judged=False, batch=4)
    assert found.cause.endswith("judged on 12 samples") and "(16 at least" in found.advice


def test_recovery_is_advised_to_who_has_samples_for_it():
    assert "--recover" in explain(pruned(), None, range(16), judged=True).advice
    assert "--recover" not in explain(pruned(), None, range(15), judged=True).advice


@pytest.mark.parametrize(
    ("report", "told", "advised"),
    [
        (recovery(improved=False), "recovery found nothing better", "more samples"),
        (recovery(improved=True), "0.4 -> 0.3 KL (nats)", "more samples"),
        (recovery(improved=True, stopped=Stopped.TIME_LIMIT), "allowed 7 steps of 1,200 planned", "--recover-minutes"),
    ],
)
def test_after_recovery_it_is_told_what_that_did(report, told, advised):
    found = explain(pruned(), report, range(99), judged=True)
    assert told in found.cause and advised in found.advice
    assert "--recover" not in found.advice.replace("--recover-minutes", "")
