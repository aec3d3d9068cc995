"""What is compared."""

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.passes.recover.distillation import MOST_BLOCKS, Distillation, find_blocks
from edgekit.passes.recover.network import Network
from edgekit.passes.recover.outputs import Outputs, find_both_outputs, find_outputs
from edgekit.passes.recover.settings import RecoverySettings
from tests.exporters.tflite.graphs import Builder
from tests.passes.recover.networks import teacher
from tests.passes.recover.running import F


def test_sums_are_the_ends_of_blocks() -> None:
    assert find_blocks(teacher(), teacher(), find_outputs(teacher())) == ["sum"]


def chain(widths: list[int]) -> ir.Model:
    builder = Builder()
    name = builder.input("x", (1, 4))
    before = 4
    for index, width in enumerate([*widths, 3]):
        name = builder.node("Gemm", [name, np.ones((before, width), F)], f"layer{index}")
        before = width
    return ir.from_proto(builder.model(name))


def test_without_sums_layers_are_compared_where_nothing_was_shrunk() -> None:
    found = find_blocks(chain([8, 6, 8]), chain([8, 8, 8]), find_outputs(chain([8, 8, 8])))
    assert found == ["layer0", "layer2"]


def test_a_dozen_at_most_spread_evenly() -> None:
    model = chain([5] * 30)
    found = find_blocks(model, model, find_outputs(model))
    assert len(found) == MOST_BLOCKS
    assert found[-1] == "layer29"


@pytest.mark.parametrize(
    ("op", "classes", "expected"),
    [
        ("Softmax", 5, Outputs("logits", False, ())),
        ("LogSoftmax", 5, Outputs("logits", False, ())),
        (None, 5, Outputs("logits", False, ())),
        ("Sigmoid", 1, Outputs("logits", True, ())),
        ("Sigmoid", 5, Outputs(None, False, ("y",))),
        ("Tanh", 5, Outputs(None, False, ("y",))),
    ],
)
def test_scores_are_compared_by_their_logits(op: str | None, classes: int, expected: Outputs) -> None:
    builder = Builder()
    builder.node("Gemm", [builder.input("x", (1, 4)), np.ones((4, classes), F)], "logits")
    model = builder.model(builder.node(op, ["logits"], "y") if op else "logits")
    assert find_outputs(ir.from_proto(model)) == expected


def test_a_softmax_over_another_axis_is_not_looked_behind() -> None:
    builder = Builder()
    x = builder.node("Gemm", [builder.input("x", (2, 4)), np.ones((4, 3), F)], "logits")
    model = ir.from_proto(builder.model(builder.node("Softmax", [x], "y", axis=0)))
    assert find_outputs(model).logits == "y"


def detector(*, branch: bool) -> ir.Model:
    """Boxes and scores in one output; ``branch``: the boxes are a sum."""
    builder = Builder()
    x = builder.input("x", (1, 4))
    boxes = builder.node("Gemm", [x, np.full((4, 4), 100, F)], "boxes")
    if branch:
        boxes = builder.node("Add", [boxes, builder.node("Tanh", [boxes], "bent")], "sum")
    scores = builder.node("Sigmoid", [builder.node("Gemm", [x, np.ones((4, 3), F)], "logits")], "scores")
    return ir.from_proto(builder.model(builder.node("Concat", [boxes, scores], "y", axis=1)))


def test_boxes_and_scores_in_one_output_are_compared_by_themselves() -> None:
    assert find_outputs(detector(branch=False)) == Outputs(None, False, ("boxes", "logits"))


def test_a_network_that_lost_a_branch_is_compared_with_the_whole_one() -> None:
    given, taught = find_both_outputs(detector(branch=False), detector(branch=True))
    assert given.names == ["boxes", "logits"]
    assert taught.names == ["sum", "logits"]


def test_outputs_that_are_joined_of_different_numbers_of_values_are_compared_whole() -> None:
    builder = Builder()
    x = builder.input("x", (1, 4))
    plain = ir.from_proto(builder.model(builder.node("Gemm", [x, np.ones((4, 7), F)], "y")))
    given, taught = find_both_outputs(plain, detector(branch=False))
    assert given.names == taught.names == ["y"]


def test_where_only_one_of_two_still_looks_like_a_classifier_plain_outputs_are_compared() -> None:
    def network(*, branch: bool) -> ir.Model:
        builder = Builder()
        x = builder.input("x", (1, 4))
        features = builder.node("Tanh", [x], "features")
        scores = builder.node("Gemm", [x, np.ones((4, 3), F)], "one")
        if branch:
            scores = builder.node("Add", [scores, builder.node("Gemm", [features, np.ones((4, 3), F)], "two")])
        return ir.from_proto(builder.model(features, builder.node("Softmax", [scores], "scores")))

    student, whole = network(branch=False), network(branch=True)
    assert find_outputs(student).logits == "one"
    given, taught = find_both_outputs(student, whole)
    assert len(given.names) == len(taught.names) == 2
    shapes = {
        value.name: tuple(value.shape or ())
        for model in (student, whole)
        for node in model.graph
        for value in node.outputs
    }
    assert [shapes[name] for name in given.names] == [shapes[name] for name in taught.names]


def test_scores_behind_class_numbers_are_compared() -> None:
    builder = Builder()
    x = builder.node("Gemm", [builder.input("x", (1, 4)), np.ones((4, 3), F)], "logits")
    model = ir.from_proto(builder.model(builder.node("ArgMax", [x], "classes", axis=1)))
    assert find_outputs(model).names == ["logits"]


def regressor(offset: float) -> ir.Model:
    """Two numbers, of which the second is large and never varies."""
    builder = Builder()
    x = builder.node("Gemm", [builder.input("x", (1, 2)), np.eye(2, 1, dtype=F), np.full(1, offset, F)], "y")
    z = builder.node("Mul", [builder.node("Mul", [x, F(0)]), F(1)])
    return ir.from_proto(builder.model(x, builder.node("Add", [z, F(100)], "constant")))


@pytest.mark.parametrize("size", [1, 3, 8])
def test_errors_are_relative_to_what_varies_over_all_samples(size: int) -> None:
    pytest.importorskip("tensorflow")
    teacher_model, student_model = regressor(0), regressor(0.5)
    student, taught = Network(student_model, "student"), Network(teacher_model, "teacher")
    outputs = find_both_outputs(student_model, teacher_model)
    distillation = Distillation(student, taught, outputs, RecoverySettings(block_weight=0))
    x = np.random.default_rng(0).normal(size=(8, 1, 2)).astype(F)
    batches = [{"x": student.tf.constant(x[begin : begin + size])} for begin in range(0, 8, size)]
    distillation.learn_scales(batches)
    losses = [float(distillation.judging_loss(batch, distillation.outputs(batch), None)) for batch in batches]
    whole = 0.25 / x[:, 0, 0].var() / 2
    assert losses == pytest.approx([whole] * len(losses), rel=1e-4)
    trained = [float(distillation.training_loss(batch, None)) for batch in batches]
    assert all(0 < loss <= 10.01 * whole for loss in trained)
