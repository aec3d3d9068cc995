"""What artifacts promised and what they do; the local runtime is the real one."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.benchmarking.promises import Promises
from edgekit.benchmarking.runners import Trial
from edgekit.benchmarking.subjects import Artifact, Subject, resolve_artifacts
from edgekit.errors import DependencyError, GateError, ModelError
from edgekit.exporters.tflite.operators import list_operators
from edgekit.profiles.target import load_target
from edgekit.runtimes import Delegation
from tests.benchmarking.fakes import FakeProgram, trial

PROGRAM = FakeProgram(lambda workload, count: trial(1.0))


@pytest.fixture(scope="module")
def artifacts(toy_export: Path) -> dict[str, Artifact]:
    """The artifacts of the toy classifier, by format."""
    return {artifact.format: artifact for artifact in resolve_artifacts([toy_export])}


def ran(artifact: Artifact, delegate: str | None = "xnnpack") -> Subject:
    return Subject(artifact, PROGRAM, str(artifact.path), delegate if artifact.format == "tflite" else None)


def took(accelerated: int | None, total: int | None = 11, partitions: int | None = None) -> Trial:
    return replace(trial(1.0), accelerated_ops=accelerated, total_ops=total, partitions=partitions)


@pytest.fixture
def remote() -> Promises:
    return Promises("pixel", is_local=False)


@pytest.mark.parametrize("format_name", ["tflite", "mnn", "onnx"])
def test_this_machines_runtime_tells_what_the_program_does_not(
    artifacts: dict[str, Artifact], format_name: str
) -> None:
    artifact = artifacts[format_name]
    promises = Promises("local", is_local=True)
    completed = promises.complete(ran(artifact), trial(1.0))
    assert artifact.promised is not None
    found = Delegation(completed.accelerated_ops or 0, completed.total_ops or 0, artifact.promised.fallback)
    assert found == artifact.promised
    promises.check(ran(artifact), completed)


def test_what_a_program_tells_stays(artifacts: dict[str, Artifact], remote: Promises) -> None:
    told = took(3)
    assert Promises("local", is_local=True).complete(ran(artifacts["tflite"]), told) == told
    assert remote.complete(ran(artifacts["tflite"]), trial(1.0)) == trial(1.0), "this machine knows nothing of another"
    assert Promises("local", is_local=True).complete(ran(artifacts["tflite"], "none"), trial(1.0)) == trial(1.0)


def test_an_artifact_that_is_replaced_meanwhile_is_an_error(tmp_path: Path, remote: Promises) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(b"old")
    (artifact,) = resolve_artifacts([path])
    path.write_bytes(b"new")
    with pytest.raises(ModelError, match=r"net\.tflite: was replaced while it was measured"):
        Promises("local", is_local=True).complete(ran(artifact), took(3))
    assert remote.complete(ran(artifact), took(3)) == took(3), "the device has a copy"


def test_fewer_operations_than_the_manifest_promised_are_an_error(
    artifacts: dict[str, Artifact], remote: Promises
) -> None:
    artifact = artifacts["tflite"]
    assert artifact.promised is not None
    count = artifact.promised.accelerated_ops
    remote.check(ran(artifact), took(count))
    with pytest.raises(GateError) as raised:
        remote.check(ran(artifact), took(count - 1))
    message = str(raised.value)
    assert str(artifact.path) in message and f"xnnpack accelerates {count - 1} of 11 operations on pixel" in message
    assert f"expected {count}, as x86-64 promises" in message and "\n" not in message


@pytest.mark.parametrize("delegate", ["none", "nnapi"])
def test_another_delegate_has_promised_nothing(artifacts: dict[str, Artifact], remote: Promises, delegate: str) -> None:
    remote.check(ran(artifacts["tflite"], delegate), took(1))
    with pytest.raises(GateError):
        remote.check(ran(artifacts["tflite"], "xnnpack"), took(1))


@pytest.mark.parametrize("delegate", ["gpu", "nnapi"])
@pytest.mark.parametrize("accelerated", [0, None])
def test_a_requested_delegate_that_took_nothing_is_an_error(
    artifacts: dict[str, Artifact], remote: Promises, delegate: str, accelerated: int | None
) -> None:
    with pytest.raises(GateError, match=f"the {delegate} delegate took no operation on pixel"):
        remote.check(ran(artifacts["tflite"], delegate), took(accelerated))
    remote.check(ran(artifacts["tflite"], delegate), took(None, partitions=1))


@pytest.mark.parametrize("program", ["benchmark_model", "edgekit", "python"])
def test_a_program_that_would_tell_and_does_not_has_broken_the_promise(
    artifacts: dict[str, Artifact], remote: Promises, program: str
) -> None:
    subject = replace(ran(artifacts["tflite"]), prepared=replace(PROGRAM, name=program))
    with pytest.raises(
        GateError, match=rf"{program} on pixel does not say that xnnpack took anything; expected \d+ of 11"
    ):
        remote.check(subject, took(None, None))
    remote.check(subject, took(None, None, partitions=1))
    for nothing in ({"promised": Delegation(0, 11)}, {"promised": None, "target": None}):
        unpromised = replace(subject, artifact=replace(subject.artifact, **nothing))
        Promises("pixel", is_local=False).check(unpromised, took(None, None))


def test_what_no_program_can_tell_is_noted_once(
    artifacts: dict[str, Artifact], remote: Promises, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        remote.check(ran(artifacts["mnn"]), took(None, None))
    (record,) = caplog.records
    assert "toy.mnn: fake does not tell how many operations are accelerated" in record.getMessage()


def test_a_runtime_that_is_not_here_is_noted(
    artifacts: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(*arguments: object, **keywords: object) -> None:
        raise DependencyError("TFLite needs ai-edge-litert")

    monkeypatch.setattr("edgekit.benchmarking.promises.RuntimeProcess", missing)
    Promises("local", is_local=True).complete(ran(artifacts["tflite"]), trial(1.0))
    assert "toy.tflite: not asked what is accelerated here: TFLite needs ai-edge-litert" in caplog.text


def test_a_file_without_a_manifest_is_held_to_the_target_that_was_named(artifacts: dict[str, Artifact]) -> None:
    alone = replace(artifacts["tflite"], target=None, promised=None, precision=None)
    Promises("pixel", is_local=False).check(ran(alone), took(0))
    named = Promises("pixel", is_local=False, target=load_target("android-arm64"))
    named.check(ran(alone), took(11))
    with pytest.raises(GateError, match="expected 11, as android-arm64 promises"):
        named.check(ran(alone), took(10))


def test_a_delegate_that_is_not_here_is_held_to_the_profiles_list(artifacts: dict[str, Artifact]) -> None:
    target = load_target("android-gpu")
    artifact = artifacts["tflite"]
    operators = [name for name, _ in list_operators(artifact.path)]
    promised = sum(name in (target.runtimes["tflite"].accelerated_ops or ()) for name in operators)
    promises = Promises("pixel", is_local=False, target=target)
    promises.check(ran(artifact, "gpu"), took(promised))
    with pytest.raises(GateError, match=f"expected {promised}, as android-gpu promises"):
        promises.check(ran(artifact, "gpu"), took(promised - 1))
    promises.check(ran(artifact, "xnnpack"), took(1))


def test_an_export_for_a_profile_that_is_not_here_promises_nothing(
    artifacts: dict[str, Artifact], remote: Promises
) -> None:
    remote.check(ran(replace(artifacts["tflite"], target="my-board")), took(0))
    with pytest.raises(GateError):
        Promises("pixel", is_local=False).check(ran(artifacts["tflite"]), took(0))


def test_the_first_operations_that_fall_back_are_named(shared: Path) -> None:
    (artifact,) = resolve_artifacts([shared / "models/kws_int8.tflite"])
    more = replace(artifact, target="x86-64", promised=Delegation(13, 13))
    local, named = (
        Promises("local", is_local=True),
        r"\(not AVERAGE_POOL_2D .*: XNNPACK has no int8 kernel for it; SOFTMAX ",
    )
    with pytest.raises(GateError, match=rf"accelerates 11 of 13 operations on local; expected 13.*{named}"):
        local.check(ran(more), local.complete(ran(more), trial(1.0)))
    with pytest.raises(GateError) as raised:
        Promises("pixel", is_local=False).check(ran(more), took(1))
    assert "(not" not in str(raised.value), "what another device leaves out is not known"
