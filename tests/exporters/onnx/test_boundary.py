"""What a file takes and gives: float or codes, the source's layout or channels last."""

import numpy as np
import onnx
import pytest

from edgekit.exporters import ExportOptions
from edgekit.exporters.onnx import OnnxExporter
from edgekit.interface import IoType, Layout, Precision
from edgekit.verification.adaptation import from_artifact, to_artifact
from tests.exporters.onnx.networks import IMAGE, convolution, finish, random_samples_of, residual_network
from tests.exporters.onnx.test_integer import quantized, session
from tests.exporters.tflite.graphs import Builder


def image_to_image():
    b = Builder()
    x = b.node("Relu", [convolution(b, b.input("image", IMAGE), 3, 8)])
    x = convolution(b, x, 8, 3)
    b.node("Sigmoid", [x], "mask")
    return finish(b, "mask")


def export(graph, path, **options):
    interface = OnnxExporter().export(graph, ExportOptions(Precision.INT8, **options), path)
    onnx.checker.check_model(path, full_check=True)
    return interface


def outputs(path, interface, sample):
    raw = session(str(path)).run([spec.name for spec in interface.outputs], to_artifact(sample, interface))
    named = dict(zip((spec.name for spec in interface.outputs), raw, strict=True))
    for spec in interface.outputs:
        assert (named[spec.name].dtype.name, named[spec.name].shape) == (spec.dtype, spec.shape)
    return from_artifact(named, interface)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("network", [residual_network, image_to_image])
@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("io", list(IoType))
def test_every_interface_gives_the_same_numbers(network, dtype, layout, io, tmp_path):
    graph = quantized(network())
    plain = export(graph, tmp_path / "plain.onnx", activation_dtype=dtype)
    interface = export(graph, tmp_path / "net.onnx", activation_dtype=dtype, layout=layout, io=io)
    sample = random_samples_of(graph, 1)[0]
    expected = outputs(tmp_path / "plain.onnx", plain, sample)
    for name, found in outputs(tmp_path / "net.onnx", interface, sample).items():
        np.testing.assert_allclose(found, expected[name], atol=1e-6)
    assert [s.name for s in (*interface.inputs, *interface.outputs)] == [
        s.name for s in (*plain.inputs, *plain.outputs)
    ]


def test_integer_interface_says_scale_and_zero_point(tmp_path):
    interface = export(quantized(residual_network()), tmp_path / "net.onnx", activation_dtype="uint8", io=IoType.INT8)
    for spec in (*interface.inputs, *interface.outputs):
        assert spec.dtype == "uint8"
        assert spec.scale > 0
        assert 0 <= spec.zero_point <= 255


def test_channels_last_moves_images_and_nothing_else(tmp_path):
    interface = export(quantized(residual_network()), tmp_path / "net.onnx", layout=Layout.NHWC)
    [image], [logits] = interface.inputs, interface.outputs
    assert (image.shape, image.permutation) == ((1, 12, 12, 3), (0, 2, 3, 1))
    assert (logits.shape, logits.permutation) == ((1, 10), None)


def test_an_input_that_is_channels_last_already_stays(tmp_path):
    b = Builder()
    x = b.node("Transpose", [b.input("image", (1, 12, 12, 3))], perm=[0, 3, 1, 2])
    b.node("Transpose", [convolution(b, x, 3, 4)], "features", perm=[0, 2, 3, 1])
    interface = export(quantized(finish(b, "features")), tmp_path / "net.onnx", layout=Layout.NHWC)
    assert [spec.permutation for spec in (*interface.inputs, *interface.outputs)] == [None, None]
    assert interface.inputs[0].shape == (1, 12, 12, 3)


def test_an_output_that_is_also_read_inside_keeps_its_name_and_its_readers(tmp_path):
    b = Builder()
    features = b.node("Relu", [convolution(b, b.input("image", IMAGE), 3, 8)], "features")
    b.node("MaxPool", [features], "peaks", kernel_shape=[2, 2], strides=[2, 2])
    graph = quantized(finish(b, "features", "peaks"))
    plain = export(graph, tmp_path / "plain.onnx")
    interface = export(graph, tmp_path / "net.onnx", io=IoType.INT8, layout=Layout.NHWC)
    assert [spec.name for spec in interface.outputs] == ["features", "peaks"]
    sample = random_samples_of(graph, 1)[0]
    expected = outputs(tmp_path / "plain.onnx", plain, sample)
    for name, found in outputs(tmp_path / "net.onnx", interface, sample).items():
        np.testing.assert_allclose(found, expected[name], atol=1e-6)
