"""Loops of known length are unrolled, and compute what they computed; others stay."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgekit.errors import ModelError
from edgekit.importers import import_model
from edgekit.importers.loops import unroll_loops
from tests.importers.onnx_files import SaveModel, assert_same_as_file, dynamic_values, run, value_info

X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
CONSTANTS = {"trips": np.array(5, np.int64), "true": np.array(True), "zero": np.array(0, np.int64)}
H0 = np.ones((1, 3), np.float32)


def _body(stop_at: int | None = None, *, by_data: bool = False) -> onnx.GraphProto:
    """``h' = h * weight + x[count]``, of which all are collected, with a counter of its own that ends it."""
    nodes = [
        helper.make_node("Gather", ["x", "count"], ["row"], axis=0),
        helper.make_node("Mul", ["weight", "two"], ["scale"], name="scale"),
        helper.make_node("Mul", ["h", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "row"], ["h_next"], name="sum"),
        helper.make_node("Add", ["count", "one"], ["count_next"]),
        helper.make_node("Identity", ["h_next"], ["collected"]),
        helper.make_node("Identity", ["weight"], ["weight_next"]),
    ]
    if by_data:
        nodes += [
            helper.make_node("ReduceMax", ["h_next"], ["largest"], keepdims=0),
            helper.make_node("Less", ["largest", "limit"], ["go_on"]),
        ]
    elif stop_at is not None:
        nodes.append(helper.make_node("Less", ["count_next", "end"], ["go_on"]))
    else:
        nodes.append(helper.make_node("Identity", ["going"], ["go_on"]))
    literals = {
        "one": np.array(1, np.int64),
        "end": np.array(stop_at or 0, np.int64),
        "two": np.array(0.5, np.float32),
        "limit": np.array(2, np.float32),
    }
    return helper.make_graph(
        nodes,
        "body",
        [
            value_info("step", (TensorProto.INT64, [])),
            value_info("going", (TensorProto.BOOL, [])),
            value_info("count", (TensorProto.INT64, [])),
            value_info("h", [1, 3]),
            value_info("weight", [1, 3]),
        ],
        [
            value_info("go_on", (TensorProto.BOOL, [])),
            value_info("count_next", (TensorProto.INT64, [])),
            value_info("h_next", [1, 3]),
            value_info("weight_next", [1, 3]),
            value_info("collected", [1, 3]),
        ],
        [onnx.numpy_helper.from_array(array, name) for name, array in literals.items()],
    )


def _nodes(body: onnx.GraphProto, trips: str = "trips") -> list[onnx.NodeProto]:
    loop = helper.make_node(
        "Loop", [trips, "true", "zero", "h0", "w"], ["n", "last", "same", "all"], name="loop", body=body
    )
    return [loop, helper.make_node("Add", ["last", "same"], ["y"])]


WEIGHTS = {**CONSTANTS, "h0": H0, "w": np.full((1, 3), 0.5, np.float32)}


def test_a_recurrence_is_unrolled(save_model: SaveModel) -> None:
    outputs = {"y": [1, 3], "all": [5, 1, 3], "n": (TensorProto.INT64, [])}
    path = save_model(_nodes(_body()), {"x": [5, 3]}, outputs, WEIGHTS)
    imported = import_model(path)
    operators = [node.op_type for node in imported.model.graph]
    assert "Loop" not in operators
    assert dynamic_values(imported.model) == []
    assert len([node for node in imported.model.graph if "scale" in (node.name or "")]) == 1, "invariant: once"
    assert_same_as_file(imported.model, path, {"x": X})


@settings(max_examples=25, deadline=None)
@given(stop_at=st.integers(1, 5), trips=st.integers(1, 5) | st.none())
def test_whatever_ends_a_loop_first_counts(stop_at: int, trips: int | None) -> None:
    constants = dict(WEIGHTS)
    if trips:
        constants["trips"] = np.array(trips, np.int64)
    graph = helper.make_graph(
        _nodes(_body(stop_at), "trips" if trips else ""),
        "graph",
        [value_info("x", [5, 3])],
        [value_info("y", [1, 3]), value_info("all", [None, 1, 3])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    want = run(model.SerializeToString(), {"x": X})
    assert unroll_loops(model.graph) == 1
    onnx.checker.check_model(model, full_check=True)
    for got, expected in zip(run(model.SerializeToString(), {"x": X}), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_loop_that_data_ends_is_refused(save_model: SaveModel) -> None:
    path = save_model(_nodes(_body(by_data=True)), {"x": [5, 3]}, {"y": [1, 3]}, WEIGHTS)
    with pytest.raises(ModelError, match="depends on the data"):
        import_model(path)


def test_a_loop_too_long_to_write_out_stays() -> None:
    graph = helper.make_graph(
        _nodes(_body()),
        "graph",
        [value_info("x", [5, 3])],
        [value_info("y", [1, 3])],
        [onnx.numpy_helper.from_array(a, n) for n, a in {**WEIGHTS, "trips": np.array(10**9, np.int64)}.items()],
    )
    assert unroll_loops(graph) == 0
