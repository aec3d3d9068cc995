"""Equal constants tie no channels together."""

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.prune.constants import separate_constants
from edgekit.passes.prune.groups import find_channel_groups


def _two_layers_with_equal_biases() -> ir.Model:
    random = np.random.default_rng(0)
    weights = {
        "w0": random.normal(size=(8, 3, 1, 1)),
        "b0": np.zeros(8),
        "w1": random.normal(size=(8, 8, 1, 1)),
        "b1": np.zeros(8),
        "w2": random.normal(size=(4, 8, 1, 1)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "w1", "b1"], ["b"], name="second"),
        helper.make_node("Conv", ["b", "w2"], ["y"], name="third"),
    ]
    graph = helper.make_graph(
        nodes,
        "twins",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 4, 4])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return canonicalize(ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(model)))


def test_equal_biases_tie_two_layers_until_they_are_separated() -> None:
    model = _two_layers_with_equal_biases()
    assert len(find_channel_groups(model).groups) == 1
    assert [group.name for group in find_channel_groups(separate_constants(model)).groups] == ["first", "second"]
    assert len(find_channel_groups(model).groups) == 1, "the given model stays as it is"


def test_a_second_call_changes_nothing() -> None:
    once = separate_constants(_two_layers_with_equal_biases())
    twice = separate_constants(once)
    assert list(once.graph.initializers) == list(twice.graph.initializers)
    assert [[v.name for v in node.inputs if v] for node in once.graph] == [
        [v.name for v in node.inputs if v] for node in twice.graph
    ]


def test_large_shared_weights_stay_shared() -> None:
    model = _two_layers_with_equal_biases()
    value = next(value for value in model.graph.initializers.values() if len(value.uses()) == 2)
    value.const_value = ir.Tensor(np.zeros((1 << 16) + 1, np.float32), name=value.name)
    assert list(separate_constants(model).graph.initializers) == list(model.graph.initializers)
