"""Scores behind class numbers and masks."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto

from edgekit.graph.decisions import find_decided, hide, reveal
from tests.exporters.tflite.graphs import Builder


def scores() -> tuple[Builder, str]:
    build = Builder()
    return build, build.node("Gemm", [build.input("x", (1, 4)), np.ones((4, 3), np.float32)], "scores")


@pytest.mark.parametrize("last", ["ArgMax", "TopK", "Greater", "masked"])
def test_what_was_decided_by_is_found_behind_casts_and_logic(last: str) -> None:
    build, logits = scores()
    if last == "ArgMax":
        output = build.node("Cast", [build.node("ArgMax", [logits], axis=1)], to=TensorProto.INT32)
    elif last == "TopK":
        _, output = build.node("TopK", [logits, np.array([2])], 2)
    elif last == "Greater":
        output = build.node("Not", [build.node("Greater", [logits, np.float32(0)])])
    else:
        inside = build.node("Less", [logits, np.float32(1)])
        output = build.node("And", [build.node("Greater", [logits, np.float32(0)]), inside])
    assert [value.name for value in find_decided(ir.from_proto(build.model(output)))] == [logits]


def test_outputs_themselves_and_what_is_no_decision_are_left_out() -> None:
    build, logits = scores()
    classes = build.node("ArgMax", [logits], axis=1)
    shape = build.node("Shape", [logits])
    assert find_decided(ir.from_proto(build.model(classes, logits, shape))) == []
    assert find_decided(ir.from_proto(build.model(shape))) == []


def test_of_several_operands_all_are_found() -> None:
    build, logits = scores()
    other = build.node("Relu", [logits])
    model = ir.from_proto(build.model(build.node("Greater", [logits, other], "mask")))
    assert reveal(model) == [logits, other]
    assert [value.name for value in model.graph.outputs] == ["mask", logits, other]
    hide(model, [logits, other])
    assert [value.name for value in model.graph.outputs] == ["mask"]
