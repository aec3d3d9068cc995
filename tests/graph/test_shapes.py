import numpy as np
import onnx_ir as ir
import pytest

from edgekit.errors import ModelError
from edgekit.graph.cost import count_macs, count_parameters, op_counts
from edgekit.graph.edit import GraphEditor
from edgekit.graph.queries import attribute, constant_scalar, shape_of, single_consumer, static_shape
from edgekit.graph.shapes import infer_shapes
from edgekit.graph.storage import load, save, to_bytes
from edgekit.graph.windows import window
from tests.passes.canonicalize.rewriting import build, noise


def test_a_new_input_shape_reaches_everything() -> None:
    body = "s = Shape(x)\nn = Slice(s, two, four)\nc = Concat<axis = 0>(start, n)\nt = Conv(x, w)\ny = Resize(t, , , c)"
    constants = {"two": np.array([2]), "four": np.array([4]), "start": np.array([1, 2]), "w": noise(2, 3, 3, 3)}
    model = build({"x": (1, 3, 8, 9)}, "y", body, **constants)
    assert static_shape(model.graph.outputs[0]) == (1, 2, 8, 9)
    model.graph.inputs[0].shape = ir.Shape([1, 3, 20, 30])
    infer_shapes(model)
    assert static_shape(model.graph.outputs[0]) == (1, 2, 20, 30)


@pytest.mark.parametrize("norm", ["GroupNormalization<num_groups = 2>(r, s, t)", "MeanVarianceNormalization(r)"])
def test_operators_that_are_functions_have_the_shape_of_what_they_read(norm) -> None:
    constants = {"s": noise(4), "t": noise(4)} if "Group" in norm else {}
    model = build({"x": (1, 4, 8, 9)}, "y", f"r = Relu(x)\nn = {norm}\ny = GlobalMaxPool(n)", **constants)
    assert static_shape(model.graph.node(1).outputs[0]) == (1, 4, 8, 9)
    assert static_shape(model.graph.outputs[0]) == (1, 4, 1, 1)


def test_an_unknown_shape_is_an_error_that_names_the_value() -> None:
    model = build({"x": (1, 3)}, "y", "y = NonZero(x)")
    with pytest.raises(ModelError, match="'y'"):
        shape_of(model.graph.outputs[0])


MACS = [
    ("y = Conv(x, w)", (4, 3, 3, 3), 4 * 6 * 6 * 3 * 9),
    ("y = Conv<group = 3>(x, w)", (6, 1, 3, 3), 6 * 6 * 6 * 9),
    ("y = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(x, w)", (4, 3, 3, 3), 4 * 4 * 4 * 3 * 9),
    ("y = ConvTranspose<strides = [2, 2]>(x, w)", (3, 5, 2, 2), 3 * 8 * 8 * 5 * 4),
    ("y = ConvTranspose<group = 3>(x, w)", (3, 2, 2, 2), 3 * 8 * 8 * 2 * 4),
    ("y = MatMul(x, w)", (8, 10), 3 * 8 * 8 * 10),
    ("f = Flatten(x)\ny = Gemm<transB = 1>(f, w)", (7, 192), 192 * 7),
    ("f = Reshape(x, s)\ny = Gemm<transA = 1>(f, w)", (3, 5), 64 * 3 * 5),
    ("t = Relu(x)\ny = MatMul(x, t)", None, 3 * 8 * 8 * 8),
]


@pytest.mark.parametrize(("body", "weight", "expected"), MACS)
def test_macs_count_each_product_once(body, weight, expected) -> None:
    constants = {"w": noise(*weight)} if weight else {}
    constants |= {"s": np.array([3, 64])} if "s)" in body else {}
    model = build({"x": (1, 3, 8, 8)}, "y", body, **constants)
    assert count_macs(model) == expected
    assert count_parameters(model) == (np.prod(weight) if weight else 0)


def test_lstm_macs_are_those_of_its_matrices() -> None:
    body = "y, h, c = LSTM<hidden_size = 6>(x, w, r)"
    model = build({"x": (10, 2, 4)}, "y", body, w=noise(1, 24, 4), r=noise(1, 24, 6))
    assert count_macs(model) == 10 * 2 * 24 * (4 + 6)


def test_ops_are_counted_most_frequent_first() -> None:
    model = build({"x": (1, 3)}, "y", "a = Relu(x)\nb = Exp(a)\ny = Relu(b)")
    assert list(op_counts(model).items()) == [("Relu", 2), ("Exp", 1)]


def test_saving_is_deterministic_and_loads_again(tmp_path) -> None:
    model = build({"x": (1, 3, 8, 8)}, "y", "y = Conv(x, w)", w=noise(4, 3, 3, 3))
    save(model, tmp_path / "a.onnx")
    assert to_bytes(load(tmp_path / "a.onnx")) == (tmp_path / "a.onnx").read_bytes() == to_bytes(model)


def test_large_weights_go_beside_the_graph(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("edgekit.graph.storage._LARGEST_MESSAGE", 100)
    model = build({"x": (1, 3, 8, 8)}, "y", "y = Conv(x, w)", w=noise(4, 3, 3, 3))
    save(model, tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx.data").stat().st_size == 4 * 3 * 3 * 3 * 4
    loaded = load(tmp_path / "a.onnx").graph.initializers["w"].const_value
    np.testing.assert_array_equal(loaded.numpy(), noise(4, 3, 3, 3))


@pytest.mark.parametrize("content", [b"", b"hello, I am text", b"\x08\x07\x12"])
def test_what_is_no_model_is_an_error_that_names_the_file(tmp_path, content) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.onnx"):
        load(tmp_path / "a.onnx")


def test_attributes_have_onnx_defaults() -> None:
    model = build({"x": (1, 4)}, "y", "a = LeakyRelu(x)\ny = Gemm(a, w)", w=noise(4, 2))
    leaky, gemm = model.graph
    assert attribute(leaky, "alpha") == pytest.approx(0.01)
    assert (attribute(gemm, "alpha"), attribute(gemm, "transB")) == (1.0, 0)
    assert single_consumer(leaky.outputs[0]) is gemm
    assert single_consumer(gemm.outputs[0]) is None


def test_a_scalar_is_read_from_any_rank() -> None:
    model = build({"x": (1, 4)}, "y", "a = Mul(x, k)\ny = Mul(a, v)", k=np.full((1, 1), 3.0), v=noise(4))
    first, second = model.graph
    assert constant_scalar(first.inputs[1]) == 3.0
    assert constant_scalar(second.inputs[1]) is None


def test_the_window_has_every_default() -> None:
    model = build(
        {"x": (1, 3, 7, 8)}, "y", 'y = Conv<auto_pad = "SAME_LOWER", strides = [2, 2]>(x, w)', w=noise(4, 3, 3, 3)
    )
    own = window(model.graph.node(0))
    assert (own.kernel, own.strides, own.dilations, own.pads) == ((3, 3), (2, 2), (1, 1), [1, 1, 1, 0])


def test_an_output_keeps_its_name_whatever_replaces_it() -> None:
    model = build({"x": (1, 4)}, "y", "a = Relu(x)\ny = Exp(a)")
    editor = GraphEditor(model.graph)
    assert editor.replace(model.graph.outputs[0], model.graph.node(0).outputs[0])
    assert [(n.op_type, n.outputs[0].name) for n in model.graph] == [("Relu", "y")]
    assert editor.replace(model.graph.outputs[0], model.graph.inputs[0])
    assert [(n.op_type, n.outputs[0].name) for n in model.graph] == [("Identity", "y")]
    assert not editor.replace(model.graph.outputs[0], model.graph.inputs[0])
