"""Every opset from 9 up ends at the pinned one and computes the same."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edgekit.errors import ModelError, UnsupportedError
from edgekit.graph import OPSET
from edgekit.importers import import_model
from tests.importers.onnx_files import SaveModel, assert_same_as_file, dynamic_values, run_imported

RANDOM = np.random.default_rng(0)
ORT_NEWEST = 23
X = RANDOM.normal(size=(1, 4, 6, 6)).astype(np.float32)


def _axes(
    opset: int, since: int, axes: list[int], name: str
) -> tuple[list[str], dict[str, object], dict[str, np.ndarray]]:
    """Axes as an attribute before opset ``since``, as an input from then on."""
    if opset < since:
        return [], {"axes": axes}, {}
    return [name], {}, {name: np.array(axes, np.int64)}


def _network(opset: int) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """A network of the operators whose form changed most between opsets."""
    constants = {
        "w": RANDOM.normal(size=(8, 4, 3, 3)).astype(np.float32),
        **{key: RANDOM.uniform(0.5, 1.5, 8).astype(np.float32) for key in ("scale", "shift", "mean", "var")},
    }
    pad = {"pads": [0, 0, 1, 1, 0, 0, 1, 1]}
    clip: dict[str, float] = {"min": 0.0, "max": 6.0}
    pad_inputs, clip_inputs = ["x"], ["n"]
    if opset >= 11:
        constants |= {"pads": np.array(pad.pop("pads"), np.int64), "lo": np.float32(0), "hi": np.float32(6)}
        clip = {}
        pad_inputs, clip_inputs = ["x", "pads"], ["n", "lo", "hi"]
    mean_inputs, mean, more = _axes(opset, 18, [3], "mean_axes")
    squeeze_inputs, squeeze, more_2 = _axes(opset, 13, [3], "squeeze_axes")
    nodes = [
        helper.make_node("Pad", pad_inputs, ["p"], **pad),
        helper.make_node("Conv", ["p", "w"], ["c"], name="conv"),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["n"]),
        helper.make_node("Clip", clip_inputs, ["k"], **clip),
        helper.make_node("ReduceMean", ["k", *mean_inputs], ["m"], keepdims=1, **mean),
        helper.make_node("Squeeze", ["m", *squeeze_inputs], ["q"], **squeeze),
        helper.make_node("Softmax", ["q"], ["s"]),
        helper.make_node("Flatten", ["s"], ["y"]),
    ]
    return nodes, constants | more | more_2


@pytest.mark.parametrize("opset", range(9, onnx.defs.onnx_opset_version() + 1))
def test_every_opset_computes_the_same_at_the_pinned_one(opset: int, save_model: SaveModel) -> None:
    nodes, constants = _network(opset)
    path = save_model(nodes, {"x": ["N", 4, 6, 6]}, {"y": ["N", 48]}, constants, opset=opset)
    model = import_model(path).model
    assert model.opset_imports == {"": OPSET}
    assert dynamic_values(model) == []
    if opset <= ORT_NEWEST:
        assert_same_as_file(model, path, {"x": X})


@pytest.mark.parametrize(("operator", "opset"), [("Upsample", 9), ("Resize", 10)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_old_resizes_keep_their_sampling(operator: str, opset: int, mode: str, save_model: SaveModel) -> None:
    nodes = [helper.make_node(operator, ["x", "scales"], ["y"], mode=mode)]
    scales = {"scales": np.array([1, 1, 1.5, 2.5], np.float32)}
    path = save_model(nodes, {"x": [1, 4, 6, 6]}, {"y": [1, 4, 9, 15]}, scales, opset=opset)
    model = import_model(path).model
    assert "Resize" in {node.op_type for node in model.graph}
    assert_same_as_file(model, path, {"x": X})


def test_slice_and_topk_attributes_become_inputs(save_model: SaveModel) -> None:
    nodes = [
        helper.make_node("Slice", ["x"], ["s"], axes=[2, 3], starts=[1, -4], ends=[5, 100]),
        helper.make_node("TopK", ["s"], ["y", "i"], k=2),
    ]
    outputs = {"y": [1, 4, 4, 2], "i": (onnx.TensorProto.INT64, [1, 4, 4, 2])}
    path = save_model(nodes, {"x": [1, 4, 6, 6]}, outputs, opset=9)
    assert_same_as_file(import_model(path).model, path, {"x": X})


def test_newer_function_operators_are_expanded(save_model: SaveModel) -> None:
    nodes = [
        helper.make_node("RMSNormalization", ["x", "w"], ["n"], name="norm", axis=-1),
        helper.make_node("Swish", ["n"], ["y"], name="swish"),
    ]
    path = save_model(nodes, {"x": [1, 4, 6, 6]}, {"y": [1, 4, 6, 6]}, {"w": np.ones(6, np.float32)}, opset=24)
    model = import_model(path).model
    assert not {"RMSNormalization", "Swish"} & {node.op_type for node in model.graph}
    normalized = X / np.sqrt((X**2).mean(-1, keepdims=True) + 1e-5)
    got = run_imported(model, {"x": X})[0]
    np.testing.assert_allclose(got, normalized / (1 + np.exp(-normalized)), rtol=1e-4, atol=1e-5)


def test_a_newer_attribute_at_its_default_is_dropped(save_model: SaveModel) -> None:
    node = helper.make_node("Cast", ["x"], ["y"], to=onnx.TensorProto.INT32, saturate=1)
    path = save_model([node], {"x": [1, 4]}, {"y": (onnx.TensorProto.INT32, [1, 4])}, opset=24)
    assert next(iter(import_model(path).model.graph)).op_type == "Cast"


def test_newer_operators_without_an_equivalent_are_all_named(save_model: SaveModel) -> None:
    nodes = [
        helper.make_node("TensorScatter", ["x", "u", "i"], ["a"], name="first", axis=2),
        helper.make_node("TensorScatter", ["a", "u", "i"], ["y"], name="second", axis=2),
    ]
    inputs = {"x": [1, 4, 6, 6], "u": [1, 4, 2, 6], "i": (onnx.TensorProto.INT64, [1])}
    path = save_model(nodes, inputs, {"y": [1, 4, 6, 6]}, opset=24)
    with pytest.raises(UnsupportedError, match=r"TensorScatter.*'first'.*'second'.*opset 21"):
        import_model(path)


@pytest.mark.parametrize(("opset", "advice"), [(99, "pip install -U onnx"), (5, "opset 9 or newer")])
def test_opsets_out_of_reach_say_what_to_do(opset: int, advice: str, save_model: SaveModel) -> None:
    path = save_model([helper.make_node("Relu", ["x"], ["y"])], {"x": [1]}, {"y": [1]}, opset=opset)
    with pytest.raises(ModelError, match=advice):
        import_model(path)


def test_a_newer_file_format_is_no_obstacle_to_older_runtimes(tmp_path: Path) -> None:
    """onnx writes its newest version by default, and onnxruntime refuses what it does not know."""
    nodes = [onnx.helper.make_node("Relu", ["x"], ["y"])]
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
    graph = onnx.helper.make_graph(nodes, "new", values[:1], values[1:])
    onnx.save(onnx.helper.make_model(graph, ir_version=onnx.IR_VERSION), tmp_path / "new.onnx")
    assert import_model(tmp_path / "new.onnx").model.ir_version == 10
