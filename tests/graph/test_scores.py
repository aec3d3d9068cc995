"""What counts as class scores, and how binary scores, several outputs and regressions are judged."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import edgekit
from edgekit.graph.scores import find_scores
from edgekit.profiles.gate import Gate
from edgekit.verification.judgement import shortfalls
from edgekit.verification.metrics import Verification
from tests.passes.quantize.networks import Network


def network(*tails: str, columns: int = 4) -> ir.Model:
    """x[1,8], one output for each tail: a Gemm and what the tail says behind it."""
    n = Network(1, 8)
    for index, tail in enumerate(tails):
        weight = n.random.normal(size=(columns, 8)).astype(np.float32)
        name = f"y{index}"
        if tail == "Gemm":
            n.gemm("x", weight, None, name)
        elif tail == "column":
            n.gemm("x", weight[:1], None, name)
        elif tail == "probability":
            n.op("Sigmoid", [n.gemm("x", weight[:1], None, f"{name}_logit")], name)
        elif tail == "map":
            n.op("Reshape", [n.gemm("x", weight, None, f"{name}_flat"), n.constant(np.array([1, 2, 2]), "2x2")], name)
        else:
            n.op(tail, [n.gemm("x", weight, None, f"{name}_flat")], name)
    return n.model(*(f"y{index}" for index in range(len(tails))))


@pytest.mark.parametrize(
    ("tails", "name", "threshold", "plausible"),
    [
        (["Gemm"], "y0", None, True),
        (["Softmax"], "y0", None, True),
        (["Sigmoid"], "y0", None, True),
        (["Tanh"], "y0", None, False),
        (["map", "Gemm"], "y1", None, True),
        (["Gemm", "Softmax"], "y1", None, True),
        (["column"], "y0", 0.0, False),
        (["probability"], "y0", 0.5, True),
    ],
)
def test_the_output_of_class_scores(tails: list[str], name: str, threshold: float | None, plausible: bool) -> None:
    found = find_scores(network(*tails))
    assert found is not None
    assert (found.name, found.threshold, found.plausible) == (name, threshold, plausible)


@pytest.mark.parametrize("tails", [["map"], ["Gemm", "Tanh"], ["column", "map"], ["column", "column"]])
def test_no_output_or_more_than_one_is_none(tails: list[str]) -> None:
    assert find_scores(network(*tails)) is None


@pytest.mark.parametrize(
    ("tail", "origin"),
    [("Gemm", "Gemm"), ("Softmax", "Softmax"), ("column", "Gemm"), ("probability", "Sigmoid"), ("Dropout", "Gemm")],
)
def test_the_op_that_makes_the_scores(tail: str, origin: str) -> None:
    found = find_scores(network(tail))
    assert found is not None and found.origin == origin


def test_a_reconstruction_of_the_input_has_no_classes() -> None:
    found = find_scores(network("Sigmoid", columns=8))
    assert found is not None and not found.plausible


def test_a_column_is_ranked_by_its_threshold() -> None:
    probability, logit = (find_scores(network(tail)) for tail in ("probability", "column"))
    assert probability is not None and logit is not None
    assert probability.ranked(np.array([[0.2], [0.5], [0.8]])).argmax(axis=1).tolist() == [0, 0, 1]
    assert logit.ranked(np.array([[-0.1], [0.1]])).argmax(axis=1).tolist() == [0, 1]


def test_agreement_is_no_reason_to_refuse_what_does_not_classify() -> None:
    far = Verification("r 1", 4, 30.0, 0.999, 0.1, top1_agreement=10.0, format_agreement={"mnn": 10.0})
    assert len(shortfalls(far, Gate())) == 2
    assert shortfalls(far, Gate(), classifies=False) == []


def test_formats_that_differ_are_refused_whatever_the_model_is() -> None:
    apart = Verification("r 1", 4, 30.0, 0.999, 0.1, format_cosine={"mnn": 0.9, "onnx": 0.999})
    [missed] = shortfalls(apart, Gate(), classifies=False)
    assert missed.sentence == "cosine with mnn 0.9000, at least 0.98 wanted"


def exported(model: ir.Model, folder: Path, y: np.ndarray | None = None, **keywords) -> list[Verification]:
    """The verifications of an int8 export, judged on labels ``y`` of 64 samples where given."""
    ir.save(model, folder / "m.onnx")
    x = np.random.default_rng(1).normal(size=(64, 8)).astype(np.float32)
    np.savez(folder / "c.npz", x=x)
    if y is not None:
        np.savez(folder / "e.npz", x=x, y=y)
        keywords["eval"] = folder / "e.npz"
    manifest = edgekit.export(
        folder / "m.onnx", "x86-64", calibration=folder / "c.npz", out=folder / "dist", **keywords
    )
    return [artifact.verification for artifact in manifest.artifacts]


@pytest.mark.parametrize("tail", ["column", "probability"])
def test_binary_labels_judge_one_column(tail: str, tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(64, 8)).astype(np.float32)
    model = network(tail)
    weight = model.graph.initializers[f"y0{'_logit' if tail == 'probability' else ''}_w"].const_value
    assert weight is not None
    for seen in exported(model, tmp_path, (x @ weight.numpy()[0] > 0).astype(np.int64), max_drop=10):
        assert seen.top1_float == 100.0
        assert seen.top1 == seen.top1_agreement
        assert seen.top1 is not None and seen.top1 >= 90
        assert seen.top5 is None


def test_labels_judge_the_scores_among_several_outputs(tmp_path: Path) -> None:
    for seen in exported(network("map", "Gemm"), tmp_path, np.arange(64) % 4, max_drop=50):
        assert seen.top1_float is not None


def test_labels_that_can_judge_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(edgekit.DataError, match=r"e\.npz: labels cannot judge .* y0 \[1, 2, 2\]"):
        exported(network("map"), tmp_path, np.arange(64) % 4)


def test_every_model_is_compared_across_formats(tmp_path: Path) -> None:
    found = exported(network("map"), tmp_path)
    assert len(found) == 3
    for seen in found:
        assert len(seen.format_cosine) == 2
        assert all(cosine > 0.99 for cosine in seen.format_cosine.values())
        assert seen.format_agreement == {}


def test_max_drop_does_not_unlock_a_broken_regression(tmp_path: Path) -> None:
    (tmp_path / "strict.toml").write_text('description = "s"\nextends = "x86-64"\n[gate]\nmin_cosine = 1.0\n')
    ir.save(network("map"), tmp_path / "m.onnx")
    np.savez(tmp_path / "c.npz", x=np.random.default_rng(1).normal(size=(8, 8)).astype(np.float32))
    options = {"calibration": tmp_path / "c.npz", "out": tmp_path / "dist"}
    with pytest.raises(edgekit.GateError, match="cosine"):
        edgekit.export(tmp_path / "m.onnx", str(tmp_path / "strict.toml"), max_drop=0, **options)
    assert edgekit.export(tmp_path / "m.onnx", str(tmp_path / "strict.toml"), max_drop=100, **options).artifacts
