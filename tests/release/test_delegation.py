from pathlib import Path

import edgekit
from edgekit.profiles.target import RuntimeProfile
from edgekit.release.delegation import target_delegation
from edgekit.runtimes import Delegation


def test_the_profile_judges_a_delegate_that_is_not_here(classifier: Path, tmp_path: Path) -> None:
    manifest = edgekit.export(classifier, "android-gpu", out=tmp_path)
    delegations = {artifact.format: artifact.delegation for artifact in manifest.artifacts}
    assert delegations["tflite"].accelerated_ops == delegations["tflite"].total_ops > 5
    assert delegations["mnn"] is None and delegations["onnx"] is None
    path = tmp_path / "android-gpu" / "toy.tflite"
    few = RuntimeProfile("tflite", "gpu", accelerated_ops=frozenset({"CONV_2D"}))
    judged = target_delegation(few, path, None)
    assert judged.accelerated_ops == 3
    assert {entry.op for entry in judged.fallback} >= {"ADD", "FULLY_CONNECTED"}


def test_the_runtime_that_is_here_is_asked(tmp_path: Path) -> None:
    asked = Delegation(3, 4)
    assert target_delegation(RuntimeProfile("tflite", "xnnpack"), tmp_path / "unread", asked) is asked
