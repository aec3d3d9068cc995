"""ONNX models: what the import promises of types, shapes, functions and names."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekit.errors import ModelError, UnsupportedError
from edgekit.importers import Source, import_model
from tests.importers.onnx_files import (
    SaveModel,
    assert_same_as_file,
    dynamic_values,
    run_imported,
    value_info,
)

RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.normal(size=(8, 3, 3, 3)).astype(np.float32)
X = RANDOM.normal(size=(1, 3, 8, 8)).astype(np.float32)


def _conv(**attributes: object) -> onnx.NodeProto:
    return helper.make_node("Conv", ["x", "w"], ["y"], name="conv", **attributes)


def test_names_shapes_and_identity_are_the_sources(save_model: SaveModel) -> None:
    path = save_model([_conv()], {"x": ["N", 3, 8, 8]}, {"y": ["N", 8, 6, 6]}, {"w": WEIGHT})
    imported = import_model(path)
    assert imported.format is Source.ONNX
    assert len(imported.sha256) == 64
    assert [(spec.name, spec.dtype, spec.shape) for spec in imported.inputs] == [("x", "float32", (1, 3, 8, 8))]
    assert [(spec.name, spec.dtype, spec.shape) for spec in imported.outputs] == [("y", "float32", (1, 8, 6, 6))]
    assert_same_as_file(imported.model, path, {"x": X})


def test_input_shapes_reach_every_value(save_model: SaveModel) -> None:
    path = save_model([_conv()], {"x": ["N", 3, "H", "W"]}, {"y": ["N", 8, "h", "w"]}, {"w": WEIGHT})
    with pytest.raises(
        ModelError, match=r'model\.onnx: input "x" has shape \[N, 3, H, W\].*--input-shape x=1,3,224,224'
    ):
        import_model(path)
    imported = import_model(path, input_shapes={"x": (2, 3, 10, 12)})
    assert imported.outputs[0].shape == (2, 8, 8, 10)
    assert dynamic_values(imported.model) == []


def test_stale_shapes_in_the_file_do_not_matter(save_model: SaveModel) -> None:
    path = save_model(
        [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Neg", ["r"], ["y"])], {"x": ["N", 4]}, {"y": [9, 4]}
    )
    proto = onnx.load(path)
    proto.graph.value_info.append(value_info("r", [9, 4]))
    onnx.save(proto, path)
    assert import_model(path).outputs[0].shape == (1, 4)


def test_shape_computations_end_as_static_shapes(save_model: SaveModel) -> None:
    """What torch writes for ``x.view(x.size(0), -1)`` and for an interpolation to another tensor's size."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Unsqueeze", ["batch", "zeros"], ["batch_1"]),
        helper.make_node("Slice", ["shape", "two", "four"], ["size"]),
        helper.make_node("Cast", ["size"], ["size_f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["size_f", "factor"], ["scaled"]),
        helper.make_node("Floor", ["scaled"], ["floored"]),
        helper.make_node("Cast", ["floored"], ["target"], to=TensorProto.INT64),
        helper.make_node("Slice", ["shape", "zeros", "two"], ["head"]),
        helper.make_node("Concat", ["head", "target"], ["sizes"], axis=0),
        helper.make_node("Resize", ["x", "", "", "sizes"], ["r"], mode="nearest"),
        helper.make_node("Concat", ["batch_1", "rest"], ["flat"], axis=0),
        helper.make_node("Reshape", ["r", "flat"], ["y"]),
    ]
    constants = {
        "zero": np.array(0),
        "zeros": np.array([0]),
        "two": np.array([2]),
        "four": np.array([4]),
        "factor": np.array([1.5, 2.0], np.float32),
        "rest": np.array([-1]),
    }
    path = save_model(nodes, {"x": ["N", 3, 8, 8]}, {"y": ["N", "F"]}, constants)
    imported = import_model(path)
    assert imported.outputs[0].shape == (1, 3 * 12 * 16)
    assert dynamic_values(imported.model) == []
    assert_same_as_file(imported.model, path, {"x": X})


def _branch(name: str, operator: str) -> onnx.GraphProto:
    return helper.make_graph(
        [helper.make_node(operator, ["x"], ["t"]), helper.make_node("Abs", ["t"], ["out"])],
        name,
        [],
        [value_info("out", None)],
    )


@pytest.mark.parametrize("size", [1, 2])
def test_an_if_on_a_shape_is_decided(size: int, save_model: SaveModel) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["channels"]),
        helper.make_node("Equal", ["channels", "one"], ["is_one"]),
        helper.make_node("If", ["is_one"], ["i"], then_branch=_branch("a", "Exp"), else_branch=_branch("b", "Neg")),
        helper.make_node("Relu", ["i"], ["y"]),
    ]
    path = save_model(nodes, {"x": ["N", size]}, {"y": ["N", size]}, {"one": np.array(1)})
    model = import_model(path).model
    assert {"Exp": 1, "Neg": 2}[next(node.op_type for node in model.graph if node.op_type in ("Exp", "Neg"))] == size
    assert_same_as_file(model, path, {"x": RANDOM.normal(size=(1, size)).astype(np.float32)})


def test_open_dimensions_without_a_name_of_their_own_are_independent(save_model: SaveModel) -> None:
    path = save_model([_conv()], {"x": ["?", 3, "?", "?"]}, {"y": ["?", 8, "?", "?"]}, {"w": WEIGHT})
    assert import_model(path, input_shapes={"x": (1, 3, 10, 12)}).outputs[0].shape == (1, 8, 8, 10)


def test_an_if_on_an_input_is_refused(save_model: SaveModel) -> None:
    nodes = [
        helper.make_node(
            "If", ["c"], ["i"], name="f", then_branch=_branch("a", "Exp"), else_branch=_branch("b", "Neg")
        ),
        helper.make_node("Reshape", ["i", "shape"], ["y"]),
    ]
    inputs = {"x": [1, 4], "c": (TensorProto.BOOL, []), "shape": (TensorProto.INT64, [2])}
    path = save_model(nodes, inputs, {"y": ["a", "b"]})
    with pytest.raises(ModelError, match=r"If \(node 'f'\) chooses by 'c'"):
        import_model(path)


def test_an_output_whose_shape_depends_on_data_is_refused(save_model: SaveModel) -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["y"])]
    path = save_model(nodes, {"x": [1, 4]}, {"y": (TensorProto.INT64, [2, "n"])})
    with pytest.raises(ModelError, match='shape of output "y" depends on the data'):
        import_model(path)


def test_initializers_listed_as_inputs_are_constants(save_model: SaveModel) -> None:
    path = save_model(
        [_conv()], {"x": [1, 3, 8, 8], "w": [8, 3, 3, 3]}, {"y": [1, 8, 6, 6]}, {"w": WEIGHT}, ir_version=3
    )
    imported = import_model(path)
    assert [spec.name for spec in imported.inputs] == ["x"]
    assert_same_as_file(imported.model, path, {"x": X})


def test_large_constant_nodes_and_unsorted_nodes_are_read(save_model: SaveModel) -> None:
    constant = helper.make_node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(WEIGHT))
    path = save_model(
        [helper.make_node("Relu", ["y"], ["z"]), _conv(), constant], {"x": [1, 3, 8, 8]}, {"z": [1, 8, 6, 6]}
    )
    assert_same_as_file(import_model(path).model, path, {"x": X})


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_become_float32(dtype: type, save_model: SaveModel) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        _conv(),
        helper.make_node("Cast", ["y"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["f"], ["h"], to=kind),
        helper.make_node("Add", ["h", "lowest"], ["z"]),
    ]
    constants = {"w": WEIGHT.astype(dtype), "lowest": np.array(np.finfo(dtype).min, dtype)}
    path = save_model(
        nodes, {"x": (kind, [1, 3, 8, 8])}, {"z": (kind, [1, 8, 6, 6]), "y": (kind, [1, 8, 6, 6])}, constants
    )
    imported = import_model(path)
    assert [spec.dtype for spec in (*imported.inputs, *imported.outputs)] == ["float32"] * 3
    assert [spec.name for spec in imported.outputs] == ["z", "y"]
    lowest, convolved = run_imported(imported.model, {"x": X})
    assert np.isfinite(lowest).all()
    want = np.einsum("oikl,bixykl->boxy", WEIGHT, np.lib.stride_tricks.sliding_window_view(X, (3, 3), (2, 3)))
    np.testing.assert_allclose(convolved, want, atol=0.02)


def test_functions_are_inlined(save_model: SaveModel) -> None:
    body = [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Neg", ["b"], ["c"])]
    function = helper.make_function("local", "NegRelu", ["a"], ["c"], body, [helper.make_opsetid("", 17)])
    nodes = [helper.make_node("NegRelu", ["x"], ["h"], domain="local"), helper.make_node("Exp", ["h"], ["y"])]
    path = save_model(nodes, {"x": [1, 4]}, {"y": [1, 4]}, functions=[function], domains={"local": 1}, ir_version=9)
    model = import_model(path).model
    assert [node.op_type for node in model.graph] == ["Relu", "Neg", "Exp"]
    assert not model.functions
    assert_same_as_file(model, path, {"x": X[:, 0, 0, :4]})


@pytest.mark.parametrize(
    ("norm", "constants"),
    [
        (helper.make_node("GroupNormalization", ["c", "s", "t"], ["n"], num_groups=4), ["s", "t"]),
        (helper.make_node("MeanVarianceNormalization", ["c"], ["n"], axes=[2, 3]), []),
    ],
)
def test_operators_without_shape_inference_have_shapes(
    norm: onnx.NodeProto, constants: list[str], save_model: SaveModel
) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        norm,
        helper.make_node("Shape", ["n"], ["shape"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("Expand", ["r", "shape"], ["y"]),
    ]
    weights = {"w": WEIGHT, **{name: RANDOM.normal(size=8).astype(np.float32) for name in constants}}
    path = save_model(nodes, {"x": ["N", 3, "H", 8]}, {"y": ["N", 8, None, 6]}, weights, opset=21, ir_version=10)
    model = import_model(path, input_shapes={"x": (1, 3, 10, 8)}).model
    assert dynamic_values(model) == []
    assert [node.op_type for node in model.graph][:2] == ["Conv", norm.op_type]
    assert_same_as_file(model, path, {"x": np.concatenate([X, X[:, :, :2]], axis=2)})


def test_custom_operators_are_all_named(save_model: SaveModel) -> None:
    nodes = [
        helper.make_node("FusedGelu", ["x"], ["a"], name="gelu_1", domain="com.microsoft"),
        helper.make_node("NoSuchOp", ["a"], ["y"], name="mystery"),
    ]
    path = save_model(nodes, {"x": [1, 4]}, {"y": [1, 4]}, domains={"com.microsoft": 1})
    with pytest.raises(UnsupportedError, match=r"com\.microsoft::FusedGelu.*gelu_1.*NoSuchOp.*mystery"):
        import_model(path)


@pytest.mark.parametrize("operator", ["QuantizeLinear", "DynamicQuantizeLinear"])
def test_quantized_models_are_refused(operator: str, save_model: SaveModel) -> None:
    inputs = ["x", "s", "z"] if operator == "QuantizeLinear" else ["x"]
    outputs = ["q"] if operator == "QuantizeLinear" else ["q", "s2", "z2"]
    constants = {"s": np.float32(1), "z": np.uint8(0)}
    nodes = [helper.make_node(operator, inputs, outputs, name="quantize_x")]
    path = save_model(nodes, {"x": [1, 4]}, {"q": (TensorProto.UINT8, [1, 4])}, constants)
    with pytest.raises(ModelError, match=f"already quantized: {operator} .*quantize_x.*float model"):
        import_model(path)


def test_inputs_that_are_no_tensors_are_refused(save_model: SaveModel) -> None:
    path = save_model([helper.make_node("SequenceLength", ["s"], ["y"])], {"s": [1]}, {"y": (TensorProto.INT64, [])})
    proto = onnx.load(path)
    proto.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, [1]))
    onnx.save(proto, path)
    with pytest.raises(ModelError, match='"s" is a sequence'):
        import_model(path)


def test_an_integer_input_and_a_scalar_input_are_fine(save_model: SaveModel) -> None:
    nodes = [helper.make_node("Gather", ["table", "ids"], ["e"]), helper.make_node("Mul", ["e", "scale"], ["y"])]
    inputs = {"ids": (TensorProto.INT64, ["N", 5]), "scale": (TensorProto.FLOAT, [])}
    path = save_model(nodes, inputs, {"y": ["N", 5, 2]}, {"table": RANDOM.normal(size=(7, 2)).astype(np.float32)})
    imported = import_model(path)
    assert [(spec.dtype, spec.shape) for spec in imported.inputs] == [("int64", (1, 5)), ("float32", ())]
    assert_same_as_file(imported.model, path, {"ids": np.array([[0, 6, 3, 2, 1]]), "scale": np.array(2, np.float32)})


def test_reading_takes_two_copies_of_the_weights_at_most(save_model: SaveModel) -> None:
    megabytes = 64
    weight = np.ones((1024, megabytes * 256), np.float32)
    path = save_model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [1, 1024]}, {"y": [1, 16384]}, {"w": weight}
    )
    program = (
        "import pathlib, resource, sys; from edgekit.importers import import_model\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "import edgekit.importers.onnx; before = peak()\n"
        "import_model(pathlib.Path(sys.argv[1])); print((peak() - before) // 1024)"
    )
    printed = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True).stdout
    assert int(printed) < 2.2 * megabytes + 20
