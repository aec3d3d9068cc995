"""Static int8 in MNN: the same integers as onnxruntime computes from the QDQ graph, in int8 kernels."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from edgekit.interface import Precision
from edgekit.runtimes.process import RuntimeProcess
from tests.exporters.mnn import graphs
from tests.exporters.mnn.graphs import POINTWISE, SAME3

RNG = np.random.default_rng(11)
SHAPE = (1, 8, 14, 14)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def node(op_type: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(" "), [output], **attributes)


FLOOR = {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
STEM = node("Conv", "x w0 b", "c", **SAME3)
OTHER = node("Conv", "c w1 b", "d", **POINTWISE)
LAST = node("Conv", "a w1 b", "y", **POINTWISE)
CONSTANTS = {
    "w0": normal(16, 8, 3, 3) * np.float32(0.1),
    "w1": normal(16, 16, 1, 1) * np.float32(0.2),
    "b": normal(16),
    "zero": np.float32(0),
    "six": np.float32(6),
    "half": np.float32(0.5),
    "minus": np.float32(-0.5),
    "scale": np.abs(normal(1, 16, 1, 1)),
    "depthwise": normal(16, 1, 3, 3),
    "multiplied": normal(32, 1, 3, 3),
    "joined": normal(16, 32, 1, 1),
    "grouped": normal(16, 4, 3, 3),
    "up": normal(16, 16, 2, 2),
    "doubled": np.array([1, 1, 2, 2], np.float32),
    "head": normal(10, 16),
    "head_bias": normal(10),
    "matrix": normal(14, 9),
    "line": normal(16, 16, 3),
    "sequence": np.array([1, 16, 196], np.int64),
    "axes": np.array([2, 3], np.int64),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
    "every": np.array([0, 1, 2, 3], np.int64),
}
# What follows the stem, and how many operations stay float.
Case = tuple[Sequence[onnx.NodeProto], int]
CASES: dict[str, Case] = {
    "conv": ([node("Conv", "c w1 b", "y", **POINTWISE)], 0),
    "conv relu": ([OTHER, node("Relu", "d", "y")], 0),
    "conv relu6": ([node("Clip", "c zero six", "a"), LAST], 0),
    "conv clip": ([node("Clip", "c minus half", "a"), LAST], 1),
    "dilated": ([node("Conv", "c grouped_dense b", "y", **{**SAME3, "dilations": [2, 2], "pads": [2] * 4})], 0),
    "depthwise": ([node("Relu", "c", "r"), node("Conv", "r depthwise b", "a", **{**SAME3, "group": 16}), LAST], 0),
    "depthwise multiplier": (
        [node("Conv", "c multiplied", "m", **{**SAME3, "group": 16}), node("Conv", "m joined b", "y", **POINTWISE)],
        0,
    ),
    "grouped": ([node("Conv", "c grouped b", "g", **{**SAME3, "group": 4}), node("Relu", "g", "a"), LAST], 0),
    "add": ([OTHER, node("Add", "c d", "a"), LAST], 0),
    "add relu": ([OTHER, node("Add", "c d", "s"), node("Relu", "s", "a"), LAST], 0),
    "add relu6": ([OTHER, node("Add", "c d", "s"), node("Clip", "s zero six", "a"), LAST], 0),
    "mul relu": ([OTHER, node("Mul", "c d", "s"), node("Relu", "s", "y")], 0),
    "sub": ([OTHER, node("Sub", "c d", "a"), LAST], 0),
    "relu used twice": ([node("Relu", "c", "r"), node("Add", "c r", "a"), LAST], 0),
    "mul constant": ([node("Mul", "c scale", "a"), LAST], 0),
    "max": ([OTHER, node("Max", "c d", "a"), LAST], 2),
    "min": ([OTHER, node("Min", "c d", "a"), LAST], 2),
    "concat": ([OTHER, node("Concat", "c d", "j", axis=1), node("Conv", "j joined b", "y", **POINTWISE)], 0),
    "max pool": ([node("MaxPool", "c", "a", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), LAST], 3),
    "global average": ([node("GlobalAveragePool", "c", "a"), LAST], 1),
    "squeeze and excite": (
        [
            node("ReduceMean", "c axes", "p", keepdims=1),
            node("Conv", "p w1 b", "e", **POINTWISE),
            node("Sigmoid", "e", "s"),
            node("Mul", "c s", "a"),
            LAST,
        ],
        2,
    ),
    "swish": ([node("Sigmoid", "c", "s"), node("Mul", "c s", "a"), LAST], 1),
    "hard swish": ([node("HardSwish", "c", "a"), LAST], 1),
    "fully connected": (
        [
            node("GlobalAveragePool", "c", "p"),
            helper.make_node("Flatten", ["p"], ["f"]),
            node("Gemm", "f head head_bias", "y", transB=1),
        ],
        1,
    ),
    "matmul": ([node("MatMul", "c matrix", "y")], 0),
    "conv 1d": (
        [
            node("Reshape", "c sequence", "l"),
            node("Conv", "l line b", "y", kernel_shape=[3], pads=[1, 1], strides=[1], dilations=[1], group=1),
        ],
        0,
    ),
    "conv transpose": (
        [node("ConvTranspose", "c up b", "a", kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4), LAST],
        1,
    ),
    "resize nearest": ([helper.make_node("Resize", ["c", "", "doubled"], ["a"], **FLOOR), LAST], 0),
    "softmax": ([node("Softmax", "c", "y", axis=1)], 0),
}
# MNN computes a swish at once; the graph rounds the sigmoid to 1/256 first.
ALLOWED = {"swish": 0.15}
CONSTANTS["grouped_dense"] = normal(16, 16, 3, 3)
# Halves of a step are rounded to even by onnxruntime, away from zero by MNN.
AVERAGES = {
    "average pool": node("AveragePool", "c", "y", kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4),
    "average pool with pads": node(
        "AveragePool", "c", "y", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, count_include_pad=1
    ),
    "average pool without pads": node("AveragePool", "c", "y", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
    "resize linear": helper.make_node("Resize", ["c", "", "doubled"], ["y"], mode="linear"),
}


def quantized(nodes: Sequence[onnx.NodeProto]) -> tuple[Any, list[graphs.Feeds]]:
    samples = [{"x": normal(*SHAPE)} for _ in range(4)]
    used = {name for each in nodes for name in each.input}
    constants = {name: value for name, value in CONSTANTS.items() if name in used}
    return graphs.quantized(graphs.model(nodes, samples[0], constants, ["y"]), samples), samples


def steps_off(path: Path, graph: Any, samples: Sequence[graphs.Feeds]) -> tuple[np.ndarray, list[str]]:
    """The differences from onnxruntime in steps of the output, and what MNN runs in float."""
    graphs.export(graph, path, Precision.INT8)
    with RuntimeProcess("mnn", path) as process:
        differences = [process.run(feeds)["y"] - graphs.run_onnxruntime(graph, feeds)["y"] for feeds in samples]
        delegation = process.delegation()
    assert delegation is not None and delegation.total_ops > delegation.accelerated_ops - 1
    return np.array(differences) / graphs.output_scale(graph, "y"), [each.op for each in delegation.fallback]


@pytest.mark.parametrize("case", CASES)
def test_same_integers(case: str, tmp_path: Path) -> None:
    nodes, float_operations = CASES[case]
    graph, samples = quantized([STEM, *nodes])
    differences, fallback = steps_off(tmp_path / "int8.mnn", graph, samples)
    # A sum between two integers may fall to either side, and one step more in a layer moves a few in the next.
    assert np.abs(differences).max() < 2.5
    assert (np.abs(differences) > 0.5).mean() < ALLOWED.get(case, 0.06)
    assert len(fallback) == float_operations, fallback


@pytest.mark.parametrize("case", AVERAGES)
def test_averages_are_off_by_one_step_without_bias(case: str, tmp_path: Path) -> None:
    graph, samples = quantized([STEM, AVERAGES[case]])
    differences, _ = steps_off(tmp_path / "int8.mnn", graph, samples)
    assert np.abs(differences).max() < 1.5
    assert np.abs(differences.mean()) < 0.03


def test_codes_and_scales_in_the_file(tmp_path: Path) -> None:
    graph, _ = quantized([STEM, node("Relu", "c", "a"), LAST])
    content = dump(graphs.export(graph, tmp_path / "int8.mnn", Precision.INT8))
    constants = {name: value.const_value.numpy() for name, value in graph.graph.initializers.items()}
    convolutions = [op for op in content["oplists"] if op["type"] == "Convolution"]
    assert len(convolutions) == 2
    for convolution, weight in zip(convolutions, ("w0", "w1"), strict=True):
        quantization = convolution["main"]["quanParameter"]
        codes = constants[f"{weight}_quantized"].reshape(-1)
        stored = np.array(quantization["buffer"], np.int16)
        # IDST: a header, the 256 values, then one index into them per weight; or the codes as they are.
        indices = stored[-codes.size :]
        plain = quantization["type"] == 4
        np.testing.assert_array_equal(indices if plain else (indices.astype(np.uint8).astype(int) - 128), codes)
        np.testing.assert_allclose(quantization["alpha"], constants[f"{weight}_scale"], atol=1e-6)
    described = {content["tensorName"][each["index"]]: each["quantInfo"] for each in content["extraTensorDescribe"]}
    assert {"x", "a"} <= described.keys()
    for name in ("x", "a"):
        assert described[name]["scale"] == pytest.approx(float(constants[f"{name}_scale"]), abs=1e-6)
        assert described[name]["zero"] == float(constants[f"{name}_zero_point"])


def dump(path: Path) -> dict[str, Any]:
    program = "import sys, _tools; _tools.mnnconvert(['x', *sys.argv[1:]])"
    target = path.with_suffix(".json")
    arguments = ["-f", "MNN", "--modelFile", str(path), "--JsonFile", str(target)]
    subprocess.run([sys.executable, "-c", program, *arguments], cwd=path.parent, check=True, capture_output=True)
    content: dict[str, Any] = json.loads(target.read_text())
    return content


def test_zero_channels_and_large_biases(tmp_path: Path) -> None:
    weight = normal(16, 1, 3, 3)
    weight[:4] = 0
    weight[4:8] *= np.float32(1e-8)
    nodes = [STEM, node("Relu", "c", "r"), node("Conv", "r weight bias", "y", **{**SAME3, "group": 16})]
    samples = [{"x": normal(*SHAPE)} for _ in range(4)]
    constants = {"w0": CONSTANTS["w0"], "b": CONSTANTS["b"], "weight": weight, "bias": normal(16) * np.float32(50)}
    graph = graphs.quantized(graphs.model(nodes, samples[0], constants, ["y"]), samples)
    differences, _ = steps_off(tmp_path / "int8.mnn", graph, samples)
    assert np.abs(differences).max() < 1.5


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    channels=st.integers(1, 20),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
    depthwise=st.booleans(),
    size=st.integers(5, 17),
    gain=st.sampled_from([0.01, 1.0, 100.0]),
)
def test_convolutions_of_any_form(
    tmp_path: Path, channels: int, kernel: int, stride: int, depthwise: bool, size: int, gain: float
) -> None:
    rng = np.random.default_rng(channels * 1000 + kernel * 100 + stride)
    weight = rng.normal(size=(channels, 1 if depthwise else channels, kernel, kernel)).astype(np.float32) * gain
    attributes = {
        "kernel_shape": [kernel] * 2,
        "strides": [stride] * 2,
        "pads": [kernel // 2] * 4,
        "dilations": [1, 1],
        "group": channels if depthwise else 1,
    }
    samples = [{"x": rng.normal(size=(1, channels, size, size)).astype(np.float32)} for _ in range(3)]
    constants = {"w": weight.astype(np.float32), "b": rng.normal(size=channels).astype(np.float32)}
    graph = graphs.quantized(
        graphs.model([node("Conv", "x w b", "y", **attributes)], samples[0], constants, ["y"]), samples
    )
    differences, fallback = steps_off(tmp_path / "any.mnn", graph, samples)
    assert np.abs(differences).max() < 1.5
    assert not fallback


def test_zeros_in_front_of_a_max_pool(tmp_path: Path) -> None:
    pool = node("MaxPool", "p", "a", kernel_shape=[3, 3], strides=[2, 2], pads=[0] * 4)
    graph, samples = quantized([STEM, node("Pad", "c pads zero every", "p"), pool, LAST])
    differences, fallback = steps_off(tmp_path / "int8.mnn", graph, samples)
    assert np.abs(differences).max() < 2.5
    assert (np.abs(differences) > 0.5).mean() < 0.06
    assert len(fallback) == 3
