"""Timing in a real runtime: what comes back, not how long it takes."""

from pathlib import Path

import numpy as np
import pytest

from edgekit.artifacts import StagedArtifact, write_artifact
from edgekit.importers import import_model
from edgekit.interface import Precision
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.quantize import quantize
from edgekit.profiles.target import load_target
from edgekit.pruning.timing import Pace, RuntimeStopwatch
from edgekit.runtimes.process import RuntimeProcess
from edgekit.settings import ExportSettings


@pytest.fixture(scope="module")
def artifact(classifier, tmp_path_factory) -> StagedArtifact:
    folder = tmp_path_factory.mktemp("timed")
    target = load_target("android-arm64")
    network = quantize(canonicalize(import_model(classifier).model), target.scheme(Precision.FP32))
    settings = ExportSettings.of(Path("toy.onnx"), {})
    return write_artifact(network, target, "tflite", Precision.FP32, lambda path: folder / Path(path).name, settings)


def test_a_worker_tells_the_time_of_each_run(artifact):
    with RuntimeProcess("tflite", artifact.staged_path) as process:
        (spec,) = process.inputs
        times = process.time({spec.name: np.zeros(spec.shape, np.float32)}, 7)
        assert times.shape == (7,) and (times > 0).all()
        assert process.run({spec.name: np.zeros(spec.shape, np.float32)}), "it still runs samples"


def test_both_are_timed_in_every_session(artifact):
    done: list[int] = []
    sample = {"image": np.zeros((1, 3, 16, 16), np.float32)}
    found = RuntimeStopwatch(sample, threads=1).pair(artifact, artifact, Pace(2, 2, 0.002), done.append)
    assert done == [1, 1]
    assert found.before_ms > 0 and found.after_ms > 0
    assert found.ratio > 0 and found.ratio_ci is None


def test_five_sessions_give_an_interval(artifact):
    sample = {"image": np.zeros((1, 3, 16, 16), np.float32)}
    pace = Pace(5, 1, 0.001, fastest=True)
    found = RuntimeStopwatch(sample, threads=1).pair(artifact, artifact, pace, lambda _: None)
    assert found.ratio_ci is not None
    assert found.ratio_ci[0] <= found.ratio <= found.ratio_ci[1]
