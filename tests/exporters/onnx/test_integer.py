"""What onnxruntime really runs of an exported int8 file, and that its numbers are those of the QDQ graph."""

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from edgekit.exporters import ExportOptions
from edgekit.exporters.onnx import OnnxExporter
from edgekit.graph import storage
from edgekit.interface import Precision
from edgekit.passes.quantize import QuantizationScheme, calibrate, quantize
from tests.exporters.onnx.networks import (
    IMAGE,
    convolution,
    finish,
    head,
    random_samples_of,
    residual_network,
    weight,
)
from tests.exporters.tflite.graphs import Builder

F = np.float32
CONVERSIONS = {"QuantizeLinear", "DequantizeLinear"}


def ints(*numbers):
    return np.array(numbers, np.int64)


def body(build):
    """A convolution, the operations of ``build``, and a head."""

    def network():
        b = Builder()
        x, channels = build(b, convolution(b, b.input("image", IMAGE), 3, 8))
        head(b, convolution(b, x, channels, 8, kernel=1), 8)
        return finish(b, "logits")

    return network


def squeeze_and_excite(gate, keepdims):
    def build(b, x):
        mean = b.node("ReduceMean", [x, ints(2, 3)], keepdims=keepdims)
        mean = mean if keepdims else b.node("Reshape", [mean, ints(1, 8, 1, 1)])
        squeezed = b.node("Relu", [convolution(b, mean, 8, 4, kernel=1)])
        excited = b.node(gate, [convolution(b, squeezed, 4, 8, kernel=1)])
        return b.node("Mul", [x, excited]), 8

    return build


def swish(b, x):
    return b.node("Mul", [x, b.node("Sigmoid", [x])]), 8


def transposed_mean(b, x):
    last = b.node("Transpose", [x], perm=[0, 2, 3, 1])
    mean = b.node("Reshape", [b.node("ReduceMean", [last, ints(1, 2)], keepdims=0), ints(1, 8, 1, 1)])
    return b.node("Add", [x, mean]), 8


def split_and_join(b, x):
    first, second = b.node("Split", [x, ints(4, 4)], 2, axis=1)
    return b.node("Concat", [second, b.node("Relu", [first])], axis=1), 8


def unary(op, **attributes):
    return lambda b, x: (b.node(op, [x], **attributes), 8)


def transposed_convolution(b, x):
    return b.node("ConvTranspose", [x, weight(8, 8, 2, 2)], strides=[2, 2], kernel_shape=[2, 2]), 8


def pool(op, **attributes):
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    return unary(op, **(window | attributes))


def zeros_before_pool(b, x):
    padded = b.node("Pad", [b.node("Sub", [x, F(1)]), ints(0, 0, 1, 1, 0, 0, 1, 1), F(0)])
    return b.node("MaxPool", [padded], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 0, 0]), 8


def resize(mode):
    attributes = {"mode": mode, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return lambda b, x: (b.node("Resize", [x, "", np.array([1, 1, 2, 2], F)], **attributes), 8)


INTEGER_NETWORKS = {
    "residual": residual_network,
    "hard swish": body(unary("HardSwish")),
    "swish": body(swish),
    "leaky relu": body(unary("LeakyRelu", alpha=0.1)),
    "squeeze and excite, sigmoid": body(squeeze_and_excite("Sigmoid", 1)),
    "squeeze and excite, hard sigmoid, flat mean": body(squeeze_and_excite("HardSigmoid", 0)),
    "mean behind a transpose": body(transposed_mean),
    "max pool": body(pool("MaxPool")),
    "average pool with dilations of one": body(pool("AveragePool", dilations=[1, 1])),
    "average pool that counts padding": body(pool("AveragePool", count_include_pad=1)),
    "clip inside the range": body(lambda b, x: (b.node("Clip", [x, F(-0.25), F(0.5)]), 8)),
    "pad": body(lambda b, x: (b.node("Pad", [x, ints(0, 0, 1, 2, 0, 0, 0, 1), F(0)]), 8)),
    "pad with a number": body(lambda b, x: (b.node("Pad", [x, ints(0, 0, 1, 1, 0, 0, 1, 1), F(0.5)]), 8)),
    "zeros in front of a max pool": body(zeros_before_pool),
    "pad of some axes": body(lambda b, x: (b.node("Pad", [x, ints(1, 2, 0, 1), F(0), ints(3, 2)]), 8)),
    "split, relu, concat": body(split_and_join),
    "slice": body(lambda b, x: (b.node("Slice", [x, ints(1), ints(7), ints(1)]), 6)),
    "depth to space": body(lambda b, x: (b.node("DepthToSpace", [x], blocksize=2), 2)),
    "nearest resize": body(resize("nearest")),
    "minus a constant": body(lambda b, x: (b.node("Sub", [x, weight(8, 1, 1)]), 8)),
    "times a constant": body(lambda b, x: (b.node("Mul", [x, weight(8, 1, 1)]), 8)),
}
FLOAT_INSIDE = {
    "linear resize": (body(resize("linear")), {"Resize"}),
    "tanh": (body(unary("Tanh")), {"Tanh"}),
    "transposed convolution": (body(transposed_convolution), {"ConvTranspose"}),
}


def quantized(model):
    return quantize(model, QuantizationScheme(Precision.INT8), calibrate(model, random_samples_of(model)))


def session(content, *, optimized=None, fused=True):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def export(model, path, dtype="uint8", **options):
    OnnxExporter().export(model, ExportOptions(Precision.INT8, activation_dtype=dtype, **options), path)
    onnx.checker.check_model(path, full_check=True)
    return path


def optimized_nodes(path, folder):
    session(str(path), optimized=folder / "optimized.onnx")
    return onnx.load(folder / "optimized.onnx").graph.node


def steps(file, graph):
    """The largest difference of the two graphs' outputs over random samples, in steps of the output's scale."""
    scale = next(
        float(node.inputs[1].const_value.numpy()) for node in graph.graph if node.outputs[0] is graph.graph.outputs[0]
    )
    emulation, integers = session(storage.to_bytes(graph), fused=False), session(str(file))
    return max(
        float(np.abs(emulation.run(None, sample)[0] - integers.run(None, sample)[0]).max()) / scale
        for sample in random_samples_of(graph)
    )


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("name", INTEGER_NETWORKS)
def test_onnxruntime_runs_everything_on_integers(name, dtype, tmp_path):
    graph = quantized(INTEGER_NETWORKS[name]())
    path = export(graph, tmp_path / "net.onnx", dtype)
    counts = Counter(node.op_type for node in optimized_nodes(path, tmp_path))
    assert counts["QuantizeLinear"] == counts["DequantizeLinear"] == 1, counts
    assert steps(path, graph) <= 3.01


@pytest.mark.parametrize("name", FLOAT_INSIDE)
def test_what_has_no_exact_integer_kernel_stays_in_float(name, tmp_path):
    network, expected = FLOAT_INSIDE[name]
    graph = quantized(network())
    path = export(graph, tmp_path / "net.onnx")
    nodes = optimized_nodes(path, tmp_path)
    dequantized = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    between = {node.op_type for node in nodes if node.op_type not in CONVERSIONS and node.input[0] in dequantized}
    assert between == expected
    assert steps(path, graph) <= 2.01


def test_activations_that_saturation_does_are_gone(tmp_path):
    path = export(quantized(residual_network()), tmp_path / "net.onnx")
    counts = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert counts["Relu"] == counts["Clip"] == 0


def test_activations_are_uint8_and_weights_int8(tmp_path):
    graph = onnx.load(export(quantized(residual_network()), tmp_path / "net.onnx")).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            assert kinds[node.input[2]] == onnx.TensorProto.UINT8
        if node.op_type == "Conv":
            [weights] = [n for n in graph.node if n.output[0] == node.input[1]]
            assert kinds[weights.input[0]] == onnx.TensorProto.INT8


def test_the_file_is_the_same_every_time_and_its_graph_untouched(tmp_path):
    graph = quantized(residual_network())
    before = storage.to_bytes(graph)
    first, second = (export(graph, tmp_path / f"{name}.onnx").read_bytes() for name in "ab")
    assert first == second
    assert storage.to_bytes(graph) == before


def test_unused_float_weights_are_not_in_the_file(tmp_path):
    graph = quantized(residual_network())
    floats = sum(value.const_value.nbytes for value in residual_network().graph.initializers.values())
    assert export(graph, tmp_path / "net.onnx").stat().st_size < floats + 8000
    used = {value for node in onnx.load(tmp_path / "net.onnx").graph.node for value in node.input}
    assert {tensor.name for tensor in onnx.load(tmp_path / "net.onnx").graph.initializer} <= used


def test_the_declared_opset_is_the_lowest_and_the_producer_is_edgekit(tmp_path):
    model = onnx.load(export(quantized(residual_network()), tmp_path / "net.onnx"))
    assert model.opset_import[0].version == 13
    assert model.ir_version <= 8
    assert model.producer_name == "edgekit"
    gelu = Builder()
    gelu.node("Gelu", [gelu.input("x", (1, 4))], "y")
    OnnxExporter().export(ir.from_proto(gelu.model("y")), ExportOptions(Precision.FP32), tmp_path / "gelu.onnx")
    assert onnx.load(tmp_path / "gelu.onnx").opset_import[0].version == 20


def test_a_pool_sees_zeros_whose_code_is_zero(tmp_path):
    b = Builder()

    def pair(x, output=1):
        codes = b.node("QuantizeLinear", [x, F(0.05), np.int8(0)])
        return b.node("DequantizeLinear", [codes, F(0.05), np.int8(0)], output)

    padded = b.node("Pad", [pair(b.input("image", IMAGE)), ints(0, 0, 1, 1, 0, 0, 1, 1), F(0)])
    pair(b.node("MaxPool", [pair(padded)], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 0, 0]), "y")
    path = export(finish(b, "y"), tmp_path / "net.onnx", "int8")
    image = np.random.default_rng(0).uniform(-3, -1, IMAGE).astype(F)
    (found,) = session(str(path)).run(None, {"image": image})
    assert (found[:, :, 0] == 0).all() and (found[:, :, 1:, 1:] < 0).all()
