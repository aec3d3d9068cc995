"""Pruning through the whole flow, in the real runtimes."""

import json
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from rich.console import Console

import edgekit
from edgekit.console.pruning import show_pruning
from edgekit.release.reading import read_manifest
from edgekit.runtimes.mnn_file import MnnFile
from tests import toy

CHANNELS = {"stem": 16, "down": 32}


@pytest.fixture(scope="module", autouse=True)
def _reproducible():
    """Nothing is timed but where a test says so: that takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1")
        yield


@pytest.fixture(scope="module")
def exported(classifier: Path, calibration: Path, evaluation: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("pruned")
    edgekit.export(classifier, "x86-64", calibration=calibration, eval=evaluation, out=out, prune=0.3)
    return out


@pytest.fixture(scope="module")
def pruning(exported: Path) -> dict:
    return json.loads((exported / "manifest.json").read_text())["pruning"]


def kept_channels(pruning: dict) -> dict[str, int]:
    return CHANNELS | {group["name"]: group["after"] for group in pruning["report"]["groups"]}


def tflite_channels(path: Path) -> Counter:
    from ai_edge_litert.interpreter import Interpreter

    # Without the delegate, which hides what it took.
    interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=_reference_kernels())
    weights = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}
    shapes = {detail["index"]: detail["shape"] for detail in interpreter.get_tensor_details()}
    ops = interpreter._get_ops_details()
    return Counter(int(shapes[op["inputs"][1]][weights[op["op_name"]]]) for op in ops if op["op_name"] in weights)


def _reference_kernels():
    from ai_edge_litert.interpreter import OpResolverType

    return OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES


def onnx_channels(path: Path) -> Counter:
    graph = onnx.load(path).graph
    shapes = {tensor.name: tensor.dims for tensor in graph.initializer}
    scaled = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    index = {"Conv": 1, "QLinearConv": 3}
    convolutions = [node.input[index[node.op_type]] for node in graph.node if node.op_type in index]
    return Counter(int(shapes[scaled.get(weight, weight)][0]) for weight in convolutions)


def mnn_channels(path: Path) -> Counter:
    # Convolution2D: common 0; Convolution2DCommon: outputCount 10 (schema/default/CaffeOp.fbs).
    file = MnnFile(path.read_bytes(), path)
    found = Counter()
    for op in file.operations:
        if op.type_name in ("Convolution", "ConvolutionDepthwise"):
            count = file.field(file.follow(file.field(op.parameters, 0)), 10)
            found[struct.unpack_from("<i", file.content, count)[0]] += 1
    return found


def test_the_channels_are_gone_from_the_files_of_all_formats(exported: Path, pruning: dict) -> None:
    kept = kept_channels(pruning)
    assert kept["stem"] < CHANNELS["stem"] or kept["down"] < CHANNELS["down"]
    expected = Counter([kept["stem"]] * 3 + [kept["down"]])
    folder = exported / "x86-64"
    assert tflite_channels(folder / "toy.tflite") == expected
    assert onnx_channels(folder / "toy.onnx") == expected
    # The fully connected layer is a convolution there.
    assert mnn_channels(folder / "toy.mnn") == expected + Counter([toy.CLASSES])


def test_channel_counts_are_multiples_of_the_profiles(pruning: dict) -> None:
    assert pruning["settings"]["channel_multiple"] == 8
    assert all(count % 8 == 0 for count in kept_channels(pruning).values())


def test_the_manifest_has_both_sides(exported: Path, pruning: dict) -> None:
    report = pruning["report"]
    assert report["macs_after"] <= 0.7 * report["macs_before"]
    assert report["parameters_after"] < report["parameters_before"]
    assert pruning["settings"]["ratio"] == 0.3 and pruning["settings"]["importance"] == "obs"
    assert pruning["float"]["top1"] >= 95
    assert [entry["path"] for entry in pruning["artifacts"]] == [
        artifact["path"] for artifact in json.loads((exported / "manifest.json").read_text())["artifacts"]
    ]
    for entry in pruning["artifacts"]:
        assert entry["after"]["bytes"] == (exported / entry["path"]).stat().st_size < entry["before"]["bytes"]
        assert entry["before"]["sqnr_db"] > entry["after"]["sqnr_db"]
        assert entry["before"]["top1"] >= 95


def test_a_reproducible_manifest_has_no_latency_and_says_so(pruning: dict) -> None:
    assert not any("latency_ratio" in entry or "median_ms" in entry["after"] for entry in pruning["artifacts"])
    assert "no latency is recorded, as SOURCE_DATE_EPOCH asks for a reproducible manifest" in pruning["notes"]


def test_only_the_pruned_files_are_published(exported: Path) -> None:
    written = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert written == {"manifest.json", *(f"x86-64/toy.{suffix}" for suffix in ("tflite", "mnn", "onnx"))}


def test_the_manifest_is_read_back_and_verified(exported: Path, pruning: dict) -> None:
    manifest = read_manifest(exported)
    assert manifest.pruning == pruning
    assert manifest.to_json() == json.loads((exported / "manifest.json").read_text())
    found = edgekit.verify(exported)
    assert len(found.artifacts) == 3


def test_a_manifest_without_pruning_has_no_word_of_it(classifier: Path, tmp_path: Path) -> None:
    manifest = edgekit.export(classifier, "x86-64", precision="fp32", out=tmp_path)
    assert manifest.pruning is None and "pruning" not in manifest.to_json()
    assert read_manifest(tmp_path).pruning is None


@pytest.mark.slow
def test_two_runs_are_byte_identical(
    exported: Path, classifier: Path, calibration: Path, evaluation: Path, tmp_path: Path
) -> None:
    edgekit.export(classifier, "x86-64", calibration=calibration, eval=evaluation, out=tmp_path, prune=0.3)
    before, after = (json.loads((out / "manifest.json").read_text()) for out in (exported, tmp_path))
    assert before["artifacts"] == after["artifacts"] and before["pruning"] == after["pruning"]


@pytest.mark.slow
@pytest.mark.parametrize("targets", [["x86-64", "android-arm64"]])
def test_every_file_is_as_small_as_was_asked(
    targets: list[str], classifier: Path, calibration: Path, tmp_path: Path
) -> None:
    manifest = edgekit.export(
        classifier, targets, calibration=calibration, out=tmp_path, max_bytes="13KB", max_drop=100
    )
    assert len(manifest.artifacts) == 3 * len(targets)
    assert all(artifact.bytes <= 13_000 for artifact in manifest.artifacts)
    assert manifest.pruning is not None
    assert max(entry["before"]["bytes"] for entry in manifest.pruning["artifacts"]) > 13_000


def test_a_budget_that_is_met_already_removes_nothing(classifier: Path, calibration: Path, tmp_path: Path) -> None:
    manifest = edgekit.export(classifier, "x86-64", calibration=calibration, out=tmp_path, max_bytes="1MiB")
    assert manifest.pruning is not None and manifest.pruning["report"] is None
    assert "nothing was removed" in manifest.pruning["notes"][0]
    assert onnx_channels(tmp_path / "x86-64" / "toy.onnx") == Counter({16: 3, 32: 1})


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"max_bytes": 1000}, r"--max-bytes 1000: .*bytes"),
        ({"prune": 0.97}, r"--prune 0\.97: .*7[0-9.]+ % of the MACs"),
    ],
)
def test_what_cannot_be_met_says_what_can_and_leaves_nothing(
    classifier: Path, calibration: Path, tmp_path: Path, keywords: dict, told: str
) -> None:
    with pytest.raises(edgekit.GateError, match=told):
        edgekit.export(classifier, "x86-64", calibration=calibration, out=tmp_path / "dist", **keywords)
    assert not (tmp_path / "dist").exists()


def test_without_data_it_falls_back_and_says_so(classifier: Path, tmp_path: Path) -> None:
    manifest = edgekit.export(classifier, "android-gpu", out=tmp_path, prune=0.2, max_drop=100)
    assert manifest.pruning is not None
    assert manifest.pruning["report"]["importance"] == "l2"
    assert manifest.pruning["settings"]["channel_multiple"] == 16
    assert any("l2" in note for note in manifest.pruning["notes"])
    assert all(entry["after"]["bytes"] < entry["before"]["bytes"] for entry in manifest.pruning["artifacts"])


def test_what_does_not_classify_has_no_top1_before_and_after(
    classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(classifier)
    model.graph.node.append(onnx.helper.make_node("Tanh", ["logits"], ["angles"], name="tanh"))
    model.graph.output[0].name = "angles"
    onnx.save(model, tmp_path / "angles.onnx")
    manifest = edgekit.export(tmp_path / "angles.onnx", "android-gpu", out=tmp_path / "dist", prune=0.2, max_drop=100)
    assert manifest.pruning is not None
    for entry in manifest.pruning["artifacts"]:
        assert "top1_agreement" not in entry["before"] | entry["after"]
    assert manifest.pruning["float"]["top1_agreement"] is None
    console = Console(width=160)
    show_pruning(console, manifest.pruning)
    told = capsys.readouterr().out
    after = manifest.pruning["artifacts"][0]["after"]
    assert "SQNR dB" in told and f"{after['sqnr_db']:.1f}" in told
    assert "agreement" not in told and "top-1" not in told


@pytest.fixture
def strict(tmp_path: Path) -> str:
    """A target whose gate nothing that was pruned passes."""
    profile = tmp_path / "strict.toml"
    profile.write_text('description = "strict"\nextends = "x86-64"\n[gate]\nmin_cosine = 1.0\n')
    return str(profile)


def test_a_pruned_artifact_that_misses_its_gate_gets_the_fitting_advice(
    classifier: Path, calibration: Path, strict: str, tmp_path: Path
) -> None:
    options = {"precision": "fp32", "out": tmp_path / "dist", "prune": 0.3, "importance": "l1"}
    with pytest.raises(edgekit.GateError, match=r"^verification failed: .*remove less, .*--max-drop.*--recover$"):
        edgekit.export(classifier, strict, calibration=calibration, **options)
    assert not (tmp_path / "dist").exists()


def test_without_data_a_missed_gate_has_that_as_its_cause(classifier: Path, strict: str, tmp_path: Path) -> None:
    cause = (
        r'^importance "obs" needs .*, and there are none: fell back to "l2".*; judged on random samples; verification'
    )
    with pytest.raises(edgekit.GateError, match=cause) as caught:
        edgekit.export(classifier, strict, precision="fp32", out=tmp_path / "dist", prune=0.3)
    assert "give samples with --calibration" in str(caught.value)
    assert "--max-drop" not in str(caught.value) and "--recover" not in str(caught.value)


def test_more_than_was_asked_is_explained(pruning: dict) -> None:
    removed = 1 - pruning["report"]["macs_after"] / pruning["report"]["macs_before"]
    told = f"asked 30 %, removed {100 * removed:.1f} %: channels go in multiples of 8" in pruning["notes"]
    assert told == (removed >= 0.305)


def test_batch_norm_scales_are_those_of_the_model_as_it_came(tmp_path: Path) -> None:
    """The channels with the least scales go, although the graph that is pruned has no BatchNormalization any more."""
    path = toy.save_classifier(tmp_path / "toy.onnx")
    model = onnx.load(path)
    scales = np.where(np.arange(16) % 2, 0.01, 2.0).astype(np.float32)
    rows = {"scale": scales, "shift": np.zeros(16, np.float32), "mean": np.zeros(16, np.float32)}
    rows["variance"] = np.ones(16, np.float32)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in rows.items())
    relu = next(node for node in model.graph.node if node.name == "stem_relu")
    relu.input[0] = "normalized"
    norm = onnx.helper.make_node("BatchNormalization", ["c0", *rows], ["normalized"], name="norm")
    model.graph.node.insert(list(model.graph.node).index(relu), norm)
    onnx.save(model, path)
    options = {"precision": "fp32", "max_drop": 100.0, "importance": "bn-scale", "prune": 0.5}
    edgekit.export(path, "x86-64", out=tmp_path, **options)
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    written = onnx.load(tmp_path / "x86-64" / "toy.onnx").graph
    shapes = [onnx.numpy_helper.to_array(tensor) for tensor in written.initializer]
    (stem,) = (array for array in shapes if array.shape == (8, 3, 3, 3))
    np.testing.assert_allclose(stem, 2 * weights["w0"][::2], rtol=1e-4)


@pytest.mark.slow
def test_an_artifact_is_as_fast_as_was_asked_or_the_tool_says_what_can_be_had(
    classifier: Path, calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    options = {"calibration": calibration, "max_drop": 100.0, "precision": "fp32"}
    first = edgekit.export(classifier, "x86-64", out=tmp_path, prune=0.1, **options)
    assert first.pruning is not None
    slowest = max(entry["before"]["median_ms"] for entry in first.pruning["artifacts"])
    assert all(entry["latency_ratio"] > 0 for entry in first.pruning["artifacts"])
    try:
        found = edgekit.export(classifier, "x86-64", out=tmp_path, max_latency=0.8 * slowest, **options)
    except edgekit.GateError as error:
        assert "ms" in str(error)
    else:
        assert found.pruning is not None
        figures = [entry["after"].get("median_ms", 0.0) for entry in found.pruning["artifacts"]]
        assert all(ms <= 0.8 * slowest for ms in figures)


@pytest.mark.slow
def test_recovery_is_a_stage_of_the_export(
    classifier: Path, calibration: Path, evaluation: Path, tmp_path: Path
) -> None:
    manifest = edgekit.export(
        classifier,
        "x86-64",
        calibration=calibration,
        eval=evaluation,
        out=tmp_path,
        prune=0.3,
        recover=True,
        recover_minutes=0.5,
        quantization_aware=True,
    )
    assert manifest.pruning is not None
    recovery = manifest.pruning["recovery"]
    assert recovery["quantization_aware"] and recovery["best_loss"] <= recovery["start_loss"]
    assert recovery["held_back_samples"] >= 8
    assert "tensorflow" in manifest.environment


def test_training_needs_samples_enough_to_judge_it(classifier: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", x=toy.images(5, seed=1)[0])
    with pytest.raises(edgekit.DataError, match=r"few\.npz: --recover needs at least 16 samples"):
        edgekit.export(
            classifier, "x86-64", calibration=tmp_path / "few.npz", out=tmp_path / "dist", prune=0.3, recover=True
        )
