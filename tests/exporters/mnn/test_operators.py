"""Every operator that MNN is known to get wrong, and those that real networks use, against onnxruntime in float."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from edgekit.errors import UnsupportedError
from edgekit.exporters.mnn import MnnExporter
from tests.exporters.mnn import graphs

RNG = np.random.default_rng(5)
IMAGE, SEQUENCE, ROWS = (1, 8, 9, 11), (1, 7, 12), (2, 10)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def window(kernel: int, rank: int, **attributes: Any) -> dict[str, Any]:
    plain = {"kernel_shape": [kernel] * rank, "strides": [1] * rank, "pads": [kernel // 2] * 2 * rank}
    return {**plain, "dilations": [1] * rank, "group": 1, **attributes}


# operator, shape of its input, constants behind it, attributes
Case = tuple[str, tuple[int, ...], list[Any], dict[str, Any]]
CASES: dict[str, Case] = {
    "conv": ("Conv", IMAGE, [normal(16, 8, 3, 3), normal(16)], window(3, 2, strides=[2, 1], pads=[0, 1, 2, 1])),
    "conv dilated": ("Conv", IMAGE, [normal(4, 8, 3, 3)], window(3, 2, dilations=[2, 2])),
    "conv depthwise": ("Conv", IMAGE, [normal(8, 1, 3, 3), normal(8)], window(3, 2, group=8)),
    "conv multiplier": ("Conv", IMAGE, [normal(24, 1, 3, 3), normal(24)], window(3, 2, group=8)),
    "conv grouped": ("Conv", IMAGE, [normal(12, 2, 3, 3), normal(12)], window(3, 2, group=4)),
    "conv 1d": ("Conv", SEQUENCE, [normal(5, 7, 3), normal(5)], window(3, 1, strides=[2])),
    "conv 1d depthwise": ("Conv", SEQUENCE, [normal(7, 1, 3)], window(3, 1, group=7)),
    "conv 3d": ("Conv", (1, 4, 5, 6, 7), [normal(6, 4, 3, 3, 3), normal(6)], window(3, 3)),
    "conv transpose": ("ConvTranspose", IMAGE, [normal(8, 6, 3, 3), normal(6)], window(3, 2, strides=[2, 2])),
    "conv transpose grouped": ("ConvTranspose", IMAGE, [normal(8, 3, 3, 3)], window(3, 2, group=2)),
    "conv transpose 1d": ("ConvTranspose", SEQUENCE, [normal(7, 6, 3), normal(6)], window(3, 1, strides=[2])),
    "gemm": ("Gemm", ROWS, [normal(6, 10), normal(6)], {"transB": 1}),
    "gemm plain": ("Gemm", ROWS, [normal(10, 6)], {}),
    "gemm factors": ("Gemm", ROWS, [normal(6, 10), normal(2, 6)], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    "gemm transposed": ("Gemm", ROWS, [normal(2, 6), normal(1)], {"transA": 1}),
    "matmul 3d": ("MatMul", SEQUENCE, [normal(12, 6)], {}),
    "matmul batched": ("MatMul", (3, 7, 12), [normal(3, 12, 5)], {}),
    "mish": ("Mish", IMAGE, [], {}),
    "mean": ("Mean", IMAGE, [normal(*IMAGE), normal(*IMAGE)], {}),
    "gelu": ("Gelu", SEQUENCE, [], {"approximate": "tanh"}),
    "hard swish": ("HardSwish", IMAGE, [], {}),
    "hard sigmoid": ("HardSigmoid", IMAGE, [], {"alpha": 1 / 6, "beta": 0.5}),
    "leaky relu": ("LeakyRelu", IMAGE, [], {"alpha": 0.3}),
    "prelu": ("PRelu", IMAGE, [np.abs(normal(8, 1, 1))], {}),
    "clip": ("Clip", IMAGE, [np.float32(-1), np.float32(0.5)], {}),
    "layer normalization": ("LayerNormalization", SEQUENCE, [normal(12), normal(12)], {"axis": -1}),
    "group normalization": ("GroupNormalization", IMAGE, [normal(8), normal(8)], {"num_groups": 4}),
    "batch normalization": ("BatchNormalization", IMAGE, [normal(8), normal(8), normal(8), np.abs(normal(8)) + 1], {}),
    "softmax": ("Softmax", IMAGE, [], {"axis": 1}),
    "reduce mean": ("ReduceMean", IMAGE, [ints(2, 3)], {"keepdims": 0}),
    "reduce max": ("ReduceMax", IMAGE, [ints(-1)], {"keepdims": 1}),
    "reduce l1": ("ReduceL1", IMAGE, [ints(1)], {"keepdims": 0}),
    "reduce l2": ("ReduceL2", IMAGE, [ints(2, 3)], {"keepdims": 1}),
    "reduce sum square": ("ReduceSumSquare", IMAGE, [ints(-1)], {"keepdims": 1}),
    "reduce log sum exp": ("ReduceLogSumExp", IMAGE, [ints(1)], {"keepdims": 1}),
    "max pool": ("MaxPool", IMAGE, [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "max pool ceil": ("MaxPool", IMAGE, [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    "average pool": ("AveragePool", IMAGE, [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}),
    "average pool 1d": ("AveragePool", SEQUENCE, [], {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
    "global average pool": ("GlobalAveragePool", IMAGE, [], {}),
    "pad": ("Pad", IMAGE, [ints(1, 2, 3, 4), np.float32(0.5), ints(2, 3)], {}),
    "pad negative": ("Pad", IMAGE, [ints(0, 0, -1, 0, 0, 0, 2, -2)], {}),
    "pad reflect": ("Pad", IMAGE, [ints(0, 0, 1, 2, 0, 0, 3, 4)], {"mode": "reflect"}),
    "slice": ("Slice", IMAGE, [ints(-1), ints(-1000), ints(2), ints(-2)], {}),
    "transpose": ("Transpose", (1, 4, 5, 6, 7), [], {"perm": [0, 2, 3, 4, 1]}),
    "depth to space": ("DepthToSpace", IMAGE, [], {"blocksize": 2, "mode": "CRD"}),
    "cast to bool": ("Not", IMAGE, [], {}),
    "less": ("Less", IMAGE, [normal(*IMAGE)], {}),
    "arg max": ("ArgMax", IMAGE, [], {"axis": 1, "keepdims": 0}),
}
for _transformation in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"):
    for _rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        CASES[f"nearest {_transformation} {_rounding}"] = (
            "Resize",
            IMAGE,
            [None, None, ints(1, 8, 13, 20)],
            {"coordinate_transformation_mode": _transformation, "nearest_mode": _rounding},
        )
for _transformation in ("half_pixel", "align_corners", "asymmetric"):
    CASES[f"linear {_transformation}"] = (
        "Resize",
        IMAGE,
        [None, np.array([1, 1, 2, 1.5], np.float32)],
        {"coordinate_transformation_mode": _transformation, "mode": "linear"},
    )


def test_operators(tmp_path: Path) -> None:
    # One file for all: a conversion and two processes each would take minutes.
    nodes, inputs, constants = [], {}, {}
    for number, (op_type, shape, values, attributes) in enumerate(CASES.values()):
        source = f"input {shape}"
        inputs[source] = normal(*shape)
        names = [f"constant_{number}_{k}" if value is not None else "" for k, value in enumerate(values)]
        constants |= {name: value for name, value in zip(names, values, strict=True) if value is not None}
        if op_type == "Not":
            nodes.append(helper.make_node("Cast", [source], ["as_bool"], to=9))
            source = "as_bool"
        nodes.append(
            helper.make_node(op_type, [source, *names], [f"out_{number}"], name=f"{op_type}_{number}", **attributes)
        )
    outputs = [f"out_{number}" for number in range(len(CASES))]
    graph = graphs.model(nodes, inputs, constants, outputs)
    expected = graphs.run_onnxruntime(graph, inputs)
    actual = graphs.run_mnn(graphs.export(graph, tmp_path / "all.mnn"), inputs)
    wrong = {}
    for name, output in zip(CASES, outputs, strict=True):
        want, got = expected[output].astype(np.float64), actual[output].astype(np.float64)
        if want.shape != got.shape:
            wrong[name] = f"{got.shape}, expected {want.shape}"
        elif np.abs(want - got).max() > 1e-4 * max(1.0, np.abs(want).max()):
            wrong[name] = f"off by {np.abs(want - got).max():g}"
    assert not wrong


def test_split_and_recurrent(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Split", ["x"], ["a", "b", "c"], axis=-1, num_outputs=3),
        helper.make_node("LSTM", ["s", "w", "r", "bias"], ["y", "h", "cell"], hidden_size=4),
    ]
    inputs = {"x": normal(*IMAGE), "s": normal(5, 1, 6)}
    constants = {"w": normal(1, 16, 6), "r": normal(1, 16, 4), "bias": normal(1, 32)}
    outputs = ["a", "b", "c", "y", "h", "cell"]
    graph = graphs.model(nodes, inputs, constants, outputs)
    expected = graphs.run_onnxruntime(graph, inputs)
    actual = graphs.run_mnn(graphs.export(graph, tmp_path / "split.mnn"), inputs)
    for output in outputs:
        np.testing.assert_allclose(actual[output], expected[output], atol=1e-5)


@pytest.mark.parametrize(("steps", "read"), [(1, "h"), (1, "flat"), (4, "h")])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("operator", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_last_states(operator: str, gates: int, direction: str, steps: int, read: str, tmp_path: Path) -> None:
    both = 2 if direction == "bidirectional" else 1
    outputs = ["y", "h", *["c"] * (operator == "LSTM")]
    states = ["h0", *["c0"] * (operator == "LSTM")]
    attributes = {"linear_before_reset": 1} if operator == "GRU" else {}
    nodes = [
        helper.make_node(
            operator, ["s", "w", "r", "bias", "", *states], outputs, hidden_size=4, direction=direction, **attributes
        ),
        helper.make_node("Reshape", ["y", "shape"], ["flat"]),
        helper.make_node("Exp", [read], ["used"]),
    ]
    inputs = {"s": normal(steps, 1, 6), **{name: normal(both, 1, 4) for name in states}}
    constants = {"w": normal(both, 4 * gates, 6), "r": normal(both, 4 * gates, 4), "bias": normal(both, 8 * gates)}
    outputs = outputs[read == "flat" :]
    graph = graphs.model(nodes, inputs, constants | {"shape": np.array([-1])}, [*outputs, "used"])
    expected = graphs.run_onnxruntime(graph, inputs)
    actual = graphs.run_mnn(graphs.export(graph, tmp_path / "recurrent.mnn"), inputs)
    for output in (*outputs, "used"):
        np.testing.assert_allclose(actual[output], expected[output], atol=1e-5)


def test_a_reshaped_output_that_is_read_inside(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["k"]),
        helper.make_node("Reshape", ["k", "shape"], ["r"]),
        helper.make_node("Exp", ["r"], ["e"]),
    ]
    inputs = {"x": normal(*IMAGE)}
    graph = graphs.model(nodes, inputs, {"shape": np.array([1, -1])}, ["r", "e"])
    expected = graphs.run_onnxruntime(graph, inputs)
    actual = graphs.run_mnn(graphs.export(graph, tmp_path / "reshaped.mnn"), inputs)
    for output in ("r", "e"):
        np.testing.assert_allclose(actual[output], expected[output], rtol=1e-5, atol=1e-6)


UNSUPPORTED: dict[str, tuple[str, dict[str, Any]]] = {
    "known to be wrong": ("Shrink", {}),
    "dilated": ("MaxPool", {"kernel_shape": [3, 3], "dilations": [2, 2]}),
    "wrapping": ("Pad", {"mode": "wrap"}),
    "refused by the converter": ("Hardmax", {"axis": -1}),
}


def test_unsupported_operators_are_named_all_at_once(tmp_path: Path) -> None:
    x = {"x": normal(*IMAGE)}
    nodes = [
        helper.make_node("Hardmax", ["x"], ["a"], name="hard"),
        helper.make_node("IsNaN", ["x"], ["b"], name="nan"),
        helper.make_node("Relu", ["x"], ["c"], name="fine"),
    ]
    graph = graphs.model(nodes, x, {}, ["a", "b", "c"])
    assert {node.node for node in MnnExporter().unsupported(graph)} == {"hard", "nan"}
    with pytest.raises(UnsupportedError, match=r"hard.*nan") as caught:
        graphs.export(graph, tmp_path / "bad.mnn")
    assert "fine" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_unsupported_operator(case: str) -> None:
    op_type, attributes = UNSUPPORTED[case]
    constants = {"pads": ints(0, 0, 1, 1, 0, 0, 1, 1)} if op_type == "Pad" else {}
    node = helper.make_node(op_type, ["x", *constants], ["y"], name="culprit", **attributes)
    graph = graphs.model([node], {"x": normal(*IMAGE)}, constants, ["y"])
    assert [(found.op, found.node) for found in MnnExporter().unsupported(graph)] == [(op_type, "culprit")]


def test_zeros_in_front_of_a_max_pool(tmp_path: Path) -> None:
    """Not minus infinity, which a pool pads with by itself."""
    nodes = [
        helper.make_node("Pad", ["x", "pads", "", *axes], [f"padded{number}"])
        for number, axes in enumerate(([], ["axes"]))
    ]
    nodes += [
        helper.make_node("MaxPool", [f"padded{number}"], [f"y{number}"], kernel_shape=[3, 3], strides=[2, 2])
        for number in range(2)
    ]
    inputs = {"x": -np.abs(normal(*IMAGE)) - 1}
    constants = {"pads": ints(0, 0, 1, 1, 0, 0, 1, 1), "axes": ints(0, 1, 2, 3)}
    graph = graphs.model(nodes, inputs, constants, ["y0", "y1"])
    expected = graphs.run_onnxruntime(graph, inputs)
    actual = graphs.run_mnn(graphs.export(graph, tmp_path / "padded.mnn"), inputs)
    for output in ("y0", "y1"):
        assert (actual[output][:, :, 0] == 0).all()
        np.testing.assert_array_equal(actual[output], expected[output])
