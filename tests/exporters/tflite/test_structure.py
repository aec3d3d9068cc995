"""What the file looks like: operators, layouts, names, signature, versions, alignment, determinism."""

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto

from edgekit.errors import UnsupportedError
from edgekit.exporters.tflite import TFLiteExporter
from edgekit.interface import IoType, Layout, Precision
from tests.exporters.tflite.graphs import FLOAT, INT8, Builder, check, export, random_feeds, reference
from tests.exporters.tflite.test_int8_operators import QdqBuilder, Weight

F = np.float32
NHWC = replace(FLOAT, layout=Layout.NHWC)
_generator = np.random.default_rng(3)


def normal(*shape: int) -> np.ndarray:
    return _generator.standard_normal(shape).astype(F)


def residual_network():
    """A depthwise block with residual and squeeze-and-excite, a pool, a classifier; NCHW as torch writes it."""
    b = Builder()
    x = b.input("image", (1, 3, 16, 16))
    x = b.node("Clip", [b.node("Conv", [x, normal(8, 3, 3, 3), normal(8)], pads=[1] * 4, strides=[2, 2]), F(0), F(6)])
    y = b.node("Relu", [b.node("Conv", [x, normal(8, 1, 3, 3), normal(8)], pads=[1] * 4, group=8)])
    s = b.node("GlobalAveragePool", [y])
    s = b.node("Sigmoid", [b.node("Conv", [s, normal(8, 8, 1, 1), normal(8)])])
    y = b.node("Mul", [y, s])
    x = b.node("Concat", [b.node("Add", [x, y]), y], axis=1)
    x = b.node("Pad", [x, np.array([0, 0, 0, 0, 0, 0, 1, 1])])
    x = b.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2])
    x = b.node("Flatten", [x])
    x = b.node("Gemm", [x, normal(10, 256), normal(10)], transB=1)
    b.node("Softmax", [x], "probabilities")
    return b.model("probabilities")


def test_network_has_one_transpose_and_fused_activations() -> None:
    exported = check(residual_network())
    assert exported.ops() == Counter(
        TRANSPOSE=1, PAD=2, CONV_2D=2, DEPTHWISE_CONV_2D=1, MEAN=1, LOGISTIC=1, MUL=1, ADD=1,
        CONCATENATION=1, MAX_POOL_2D=1, RESHAPE=1, FULLY_CONNECTED=1, SOFTMAX=1,
    )  # fmt: skip


def test_channels_last_input_needs_no_transpose_at_all() -> None:
    exported = check(residual_network(), NHWC)
    assert exported.ops()["TRANSPOSE"] == 0
    (spec,) = exported.interface.inputs
    assert (spec.shape, spec.permutation) == ((1, 16, 16, 3), (0, 2, 3, 1))


def test_channels_last_output_keeps_its_layout_only_when_asked() -> None:
    b = Builder()
    b.node("Conv", [b.input("x", (1, 3, 5, 7)), normal(4, 3, 1, 1)], "y")
    model = b.model("y")
    assert check(model).interface.outputs[0].permutation is None
    (spec,) = check(model, NHWC).interface.outputs
    assert (spec.shape, spec.permutation) == ((1, 5, 7, 4), (0, 2, 3, 1))


def test_inputs_that_no_image_operator_reads_keep_their_layout() -> None:
    b = Builder()
    b.node("MatMul", [b.input("x", (1, 2, 3, 4)), normal(4, 5)], "y")
    assert check(b.model("y"), NHWC).interface.inputs[0].permutation is None


def test_channels_last_source_needs_no_transpose() -> None:
    b = Builder()
    x = b.node("Transpose", [b.input("x", (1, 8, 8, 3))], perm=[0, 3, 1, 2])
    x = b.node("Relu", [b.node("Conv", [x, normal(4, 3, 3, 3), normal(4)], pads=[1] * 4)])
    b.node("Transpose", [x], "y", perm=[0, 2, 3, 1])
    assert check(b.model("y")).ops() == Counter(CONV_2D=1)


def test_channel_shuffle_is_one_transpose() -> None:
    b = Builder()
    x = b.node("Conv", [b.input("x", (1, 4, 6, 6)), normal(8, 4, 1, 1)])
    x = b.node("Reshape", [x, np.array([1, 2, 4, 6, 6])])
    x = b.node("Reshape", [b.node("Transpose", [x], perm=[0, 2, 1, 3, 4]), np.array([1, 8, 6, 6])])
    b.node("Conv", [x, normal(4, 8, 1, 1)], "y")
    assert check(b.model("y"), NHWC).ops() == Counter(CONV_2D=2, RESHAPE=2, TRANSPOSE=1)


def test_patch_embedding_needs_no_transpose() -> None:
    b = Builder()
    x = b.node("Conv", [b.input("x", (1, 3, 8, 8)), normal(16, 3, 4, 4)], strides=[4, 4])
    x = b.node("Transpose", [b.node("Reshape", [x, np.array([1, 16, 4])])], perm=[0, 2, 1])
    b.node("LayerNormalization", [x, normal(16), normal(16)], "y")
    assert check(b.model("y"), NHWC, atol=1e-4).ops()["TRANSPOSE"] == 0


def test_pixel_shuffle_is_folded_into_the_convolution() -> None:
    b = Builder()
    x = b.node("Relu", [b.node("Conv", [b.input("x", (1, 3, 4, 5)), normal(12, 3, 3, 3), normal(12)], pads=[1] * 4)])
    b.node("DepthToSpace", [x], "y", blocksize=2, mode="CRD")
    assert check(b.model("y"), NHWC).ops() == Counter(CONV_2D=1, DEPTH_TO_SPACE=1)


def test_global_pool_and_flatten_are_one_mean() -> None:
    b = Builder()
    x = b.node("Conv", [b.input("x", (1, 3, 4, 5)), normal(6, 3, 1, 1)])
    x = b.node("Flatten", [b.node("GlobalAveragePool", [x])])
    b.node("Gemm", [x, normal(2, 6), normal(2)], "y", transB=1)
    assert check(b.model("y"), NHWC).ops() == Counter(CONV_2D=1, MEAN=1, FULLY_CONNECTED=1)


def test_product_with_transposed_activation_uses_adj_y() -> None:
    b = Builder()
    key = b.node("Transpose", [b.input("k", (2, 3, 6, 5))], perm=[0, 1, 3, 2])
    b.node("MatMul", [b.input("q", (2, 3, 4, 5)), key], "y")
    assert check(b.model("y")).ops() == Counter(BATCH_MATMUL=1)


def test_flattened_activation_with_two_kinds_of_user_is_transposed() -> None:
    b = Builder()
    x = b.node("Conv", [b.input("x", (1, 3, 4, 5)), normal(6, 3, 1, 1)])
    x = b.node("Flatten", [x])
    b.node("Gemm", [x, normal(2, 120), normal(2)], "y", transB=1)
    b.node("Relu", [x], "z")
    # One at the input, which keeps the source's layout, and one that both users share.
    assert check(b.model("y", "z")).ops()["TRANSPOSE"] == 2


def test_names_signature_description_and_runtime_version() -> None:
    exported = export(residual_network())
    file = exported.file()
    graph = file.subgraphs[0]
    assert file.description == b"edgekit"
    assert graph.tensors[graph.inputs[0]].name == b"image"
    assert graph.tensors[graph.outputs[0]].name == b"probabilities"
    (signature,) = file.signatureDefs
    assert signature.signatureKey == b"serving_default"
    assert [entry.name for entry in signature.inputs] == [b"image"]
    assert [entry.name for entry in signature.outputs] == [b"probabilities"]
    names = [tensor.name for tensor in graph.tensors]
    assert len(set(names)) == len(names)
    (metadata,) = file.metadata
    assert metadata.name == b"min_runtime_version"
    assert bytes(file.buffers[metadata.buffer].data) == b"1.14.0".ljust(16, b"\0")


def test_buffers_are_aligned_shared_and_start_with_an_empty_one() -> None:
    from ai_edge_litert import schema_py_generated as schema

    b = Builder()
    weights = normal(3, 3, 3, 3)
    x = b.node("Conv", [b.input("x", (1, 3, 8, 8)), weights])
    b.node("Conv", [x, weights.copy()], "y")
    exported = export(b.model("y"))
    model = schema.Model.GetRootAs(exported.data, 0)
    assert model.Buffers(0).DataLength() == 0
    for index in range(1, model.BuffersLength()):
        buffer = model.Buffers(index)
        assert buffer._tab.Vector(buffer._tab.Offset(4)) % 16 == 0
    contents = [model.Buffers(i).DataAsNumpy().tobytes() for i in range(1, model.BuffersLength())]
    assert len(set(contents)) == len(contents)
    assert len(exported.data) < weights.nbytes + 3000


def test_bytes_do_not_change_from_run_to_run() -> None:
    model = residual_network()
    assert export(model).data == export(model).data


def test_all_unsupported_nodes_are_named_at_once() -> None:
    b = Builder()
    x = b.input("x", (1, 4, 6, 6))
    x = b.node("MaxPool", [x], kernel_shape=[2, 2], dilations=[2, 2])
    x = b.node("Relu", [x])
    x = b.node("Det", [b.node("Slice", [x, np.array([0]), np.array([4]), np.array([2])])])
    b.node("Relu", [x], "y")
    model = b.model("y")
    found = TFLiteExporter().unsupported(ir.from_proto(model))
    assert [(n.op, n.node) for n in found] == [("MaxPool", "MaxPool_0"), ("Det", "Det_3")]
    with pytest.raises(UnsupportedError, match=r"MaxPool_0.*Det_3"):
        export(model)


def test_integer_interface_keeps_its_types() -> None:
    b = Builder()
    x = b.input("ids", (2, 3), TensorProto.INT64)
    x = b.node("Add", [x, np.array([[1], [2]])])
    b.node("Gather", [normal(9, 4), x], "embedded")
    b.node("ArgMax", [b.node("Softmax", ["embedded"])], "best", axis=-1)
    exported = check(b.model("embedded", "best"))
    assert exported.interface.inputs[0].dtype == "int64"
    assert exported.interface.outputs[1].dtype == "int64"


def test_inputs_constants_and_repeated_outputs_have_tensors_of_their_own() -> None:
    b = Builder()
    x = b.input("x", (2, 3))
    b.node("Identity", [x], "copy")
    b.node("Identity", [x], "again")
    b.node("Relu", [x], "relu")
    b.node("Identity", ["relu"], "twice")
    exported = check(b.model("copy", "again", "relu", "twice"))
    assert len(set(exported.file().subgraphs[0].outputs.tolist())) == 4


def quantized_network():
    b = QdqBuilder()
    scale, zero = F(0.03), np.int8(3)
    x = b.pair(b.input("image", (1, 3, 8, 8)), scale, zero)
    weights, _ = b.weight(Weight(normal(6, 3, 3, 3) * F(0.2)))
    x = b.node("Relu", [b.node("Conv", [x, weights], pads=[1] * 4)])
    x = b.pair(x, F(0.02), np.int8(-128))
    x = b.pair(b.node("GlobalAveragePool", [x]), F(0.02), np.int8(-128))
    x = b.pair(b.node("Flatten", [x]), F(0.02), np.int8(-128))
    weights, _ = b.weight(Weight(normal(4, 6)))
    x = b.pair(b.node("Gemm", [x, weights], transB=1), F(0.05), np.int8(0))
    b.pair(b.node("Softmax", [x]), F(1 / 256), np.int8(-128), output="probabilities")
    return b.model("probabilities")


def test_int8_network_quantizes_at_its_ends_only() -> None:
    exported = export(quantized_network(), replace(INT8, layout=Layout.NHWC))
    assert exported.ops() == Counter(QUANTIZE=1, CONV_2D=1, MEAN=1, FULLY_CONNECTED=1, SOFTMAX=1, DEQUANTIZE=1)


def test_int8_interface_carries_scale_and_zero_point() -> None:
    model = quantized_network()
    exported = export(model, replace(INT8, io=IoType.INT8, layout=Layout.NHWC))
    assert exported.ops() == Counter(CONV_2D=1, MEAN=1, FULLY_CONNECTED=1, SOFTMAX=1)
    (source,), (result,) = exported.interface.inputs, exported.interface.outputs
    assert (source.dtype, source.scale, source.zero_point) == ("int8", pytest.approx(0.03), 3)
    assert (result.dtype, result.scale, result.zero_point) == ("int8", pytest.approx(1 / 256), -128)
    feeds = random_feeds(model)
    codes = np.clip(np.rint(feeds["image"] / F(0.03)) + 3, -128, 127).astype(np.int8)
    got = (exported.run({"image": codes})["probabilities"].astype(np.int32) + 128) / 256
    assert np.abs(got - reference(model, feeds)["probabilities"]).max() <= 1.01 / 256


def test_operators_without_int8_kernels_run_in_float_between() -> None:
    b = QdqBuilder()
    x = b.pair(b.input("x", (1, 8)), F(0.02), np.int8(0))
    x = b.pair(b.node("Softplus", [x]), F(0.02), np.int8(-128))
    b.pair(b.node("Relu", [x]), F(0.02), np.int8(-128), output="y")
    model = b.model("y")
    exported = export(model, INT8)
    assert exported.ops()["DEQUANTIZE"] == 2
    assert exported.ops()["QUANTIZE"] == 2
    feeds = random_feeds(model)
    assert np.abs(exported.run(feeds)["y"] - reference(model, feeds)["y"]).max() <= 0.0201


def weight_only_network(dtype=np.int8):
    b = QdqBuilder()
    x = b.input("x", (1, 4, 8, 8))
    weights, _ = b.weight(Weight(normal(8, 4, 3, 3)))
    x = b.node("Relu", [b.node("Conv", [x, weights, normal(8)], pads=[1] * 4)])
    weights, _ = b.weight(Weight(normal(8, 1, 3, 3)))
    x = b.node("Conv", [x, weights, normal(8)], pads=[1] * 4, group=8)
    weights, _ = b.weight(Weight(normal(8, 2, 2, 2), 1))
    x = b.node("ConvTranspose", [x, weights, normal(2)], strides=[2, 2])
    weights, _ = b.weight(Weight(normal(5, 512)))
    b.node("Gemm", [b.node("Flatten", [x]), weights, normal(5)], "y", transB=1)
    return b.model("y")


@pytest.mark.parametrize("plain", [False, True], ids=["xnnpack", "builtin"])
def test_int8_weights_are_exact(plain: bool) -> None:
    model = weight_only_network()
    exported = check(model, replace(FLOAT, precision=Precision.INT8_WEIGHTS), atol=1e-3, rtol=1e-4, plain=plain)
    assert exported.ops()["DEQUANTIZE"] == 4


def test_int8_dynamic_multiplies_integers() -> None:
    model = weight_only_network()
    exported = export(model, replace(FLOAT, precision=Precision.INT8_DYNAMIC))
    feeds = random_feeds(model)
    wanted, got = reference(model, feeds)["y"], exported.run(feeds)["y"]
    assert np.linalg.norm(got - wanted) < 0.05 * np.linalg.norm(wanted)
    assert exported.ops()["DEQUANTIZE"] == 1


def test_fp16_stores_half_and_computes_float() -> None:
    b = Builder()
    weights = normal(8, 3, 3, 3).astype(np.float16).astype(F)
    x = b.node("Conv", [b.input("x", (1, 3, 8, 8)), weights, normal(8)])
    b.node("Relu", [x], "y")
    model = b.model("y")
    half = check(model, replace(FLOAT, precision=Precision.FP16))
    assert half.ops()["DEQUANTIZE"] == 1
    assert len(export(model).data) - len(half.data) > weights.nbytes // 2 - 300


def test_interface_is_described_as_the_file_has_it() -> None:
    from ai_edge_litert.interpreter import Interpreter

    exported = export(residual_network(), NHWC)
    interpreter = Interpreter(model_content=exported.data)
    (details,) = interpreter.get_input_details()
    assert tuple(details["shape"]) == exported.interface.inputs[0].shape
    assert details["name"] == exported.interface.inputs[0].name


@pytest.mark.parametrize("axes", [[], [np.array([0, 1, 2, 3])]], ids=["amounts", "axes"])
def test_zeros_in_front_of_a_max_pool_are_zeros(axes) -> None:
    b = Builder()
    below = b.node("Neg", [b.node("Exp", [b.input("x", (1, 3, 8, 8))])])
    padded = b.node("Pad", [below, np.array([0, 0, 1, 1, 0, 0, 1, 1]), *(["", *axes] if axes else [])])
    b.node("MaxPool", [padded], "y", kernel_shape=[3, 3], strides=[2, 2])
    exported = check(b.model("y"))
    assert exported.ops()["PAD"] == exported.ops()["MAX_POOL_2D"] == 1
