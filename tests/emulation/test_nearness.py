"""Both runs against the source model: what has lost nothing passes."""

from pathlib import Path

import numpy as np
import pytest

from edgekit.emulation.nearness import SourceOutputs, nearness_fault
from edgekit.exporters import ExportedInterface
from edgekit.importers import import_model
from edgekit.profiles.gate import Gate
from edgekit.verification.comparison import Subject
from tests import toy


def test_the_loss_is_that_of_the_sqnr_against_the_source(classifier: Path) -> None:
    source = import_model(classifier)
    interface = ExportedInterface(source.inputs, source.outputs)
    subject = Subject("target", "mnn", classifier, interface, Gate(), "toy.mnn")
    pixels, _ = toy.images(3, seed=1)
    samples = [{source.inputs[0].name: each[None].astype(np.float32)} for each in pixels]
    with SourceOutputs(source.model) as outputs:
        zero = [{spec.name: np.zeros(spec.shape, np.float32) for spec in source.outputs} for _ in samples]
        assert outputs.lost_db(subject, samples, zero, zero) == 0
        truth = outputs._known[id(samples)]
        near = [{name: values * np.float32(1.01) for name, values in each.items()} for each in truth]
        far = [{name: values * np.float32(1.1) for name, values in each.items()} for each in truth]
        assert outputs.lost_db(subject, samples, near, far) == pytest.approx(20, abs=0.1)
        assert outputs.lost_db(subject, samples, far, near) == pytest.approx(-20, abs=0.1)


def test_two_decibels_are_the_limit_and_without_a_source_nothing_passes() -> None:
    assert nearness_fault(1.9) is None and nearness_fault(-20) is None
    assert "2.1 dB lower" in (nearness_fault(2.1) or "")
    assert "leave --hashes-only out" in (nearness_fault(None) or "")
    with SourceOutputs(None) as outputs:
        assert outputs.lost_db(None, [], [], []) is None  # type: ignore[arg-type]
