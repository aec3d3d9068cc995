"""The declared opset is one at which every node means what it means in the graph."""

import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from edgekit.exporters.onnx.stamp import stamp


def stamped(node: onnx.NodeProto, types: dict[str, int], shapes: dict[str, list[int]]) -> int:
    inputs = [helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), shapes[name]) for name in shapes]
    outputs = [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "g", inputs, outputs)
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    stamp(model)
    return model.graph.opset_imports[""]


@pytest.mark.parametrize(("reduction", "opset"), [("add", 16), ("max", 18), ("min", 18)])
def test_a_reduction_that_came_later(reduction: str, opset: int) -> None:
    node = helper.make_node("ScatterND", ["x", "i", "u"], ["y"], name="s", reduction=reduction)
    assert stamped(node, {"i": TensorProto.INT64}, {"x": [4], "i": [2, 1], "u": [2]}) == opset


@pytest.mark.parametrize("attributes", [{"mode": "linear"}, {"mode": "cubic"}, {}])
def test_a_mode_and_a_default_that_were_renamed(attributes: dict[str, str]) -> None:
    node = helper.make_node("GridSample", ["x", "g"], ["y"], name="s", **attributes)
    assert stamped(node, {}, {"x": [1, 1, 4, 4], "g": [1, 2, 2, 2]}) == 20


def test_what_never_changed_is_at_the_oldest() -> None:
    assert stamped(helper.make_node("Relu", ["x"], ["y"], name="r"), {}, {"x": [4]}) == 13
