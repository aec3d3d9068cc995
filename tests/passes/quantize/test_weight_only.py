import numpy as np
import onnx_ir as ir
import pytest

from edgekit.errors import ModelError
from edgekit.interface import Precision
from edgekit.passes.quantize import PRECISION_KEY, QuantizationScheme, quantize
from tests.passes.quantize.networks import Network, images, run, sqnr_db


def network() -> ir.Model:
    n = Network(1, 16, 8, 8)
    wide = n.conv("x", n.random.normal(size=(128, 16, 1, 1)), "wide", n.random.normal(size=128))
    deep = n.conv(wide, n.random.normal(size=(128, 1, 3, 3)), "deep", group=128)
    flat = n.op("GlobalAveragePool", [deep], "pooled")
    flat = n.op("Reshape", [flat, n.constant(np.array([1, 128]), "shape")], "flat")
    hidden = n.gemm(flat, n.random.normal(size=(20, 128)), n.random.normal(size=20), "hidden")
    return n.model(n.gemm(hidden, n.random.normal(size=(3, 20)), None, "small"))


def integer_weights(model: ir.Model) -> set[str]:
    return {node.inputs[0].name for node in model.graph if node.op_type == "DequantizeLinear"}


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        # A depthwise kernel on integers is slower than float; a weight below 1,024 elements saves nothing.
        (Precision.INT8_DYNAMIC, {"wide_w_quantized", "hidden_w_quantized"}),
        (Precision.INT8_WEIGHTS, {"wide_w_quantized", "deep_w_quantized", "hidden_w_quantized"}),
    ],
)
def test_integer_weights(precision: Precision, expected: set[str]) -> None:
    model, samples = network(), images(10, shape=(1, 16, 8, 8))
    result = quantize(model, QuantizationScheme(precision))
    assert integer_weights(result) == expected
    assert result.metadata_props[PRECISION_KEY] == precision.value
    assert not any(node.op_type == "QuantizeLinear" for node in result.graph)
    assert sqnr_db(run(model, samples), run(result, samples)) > 35


def test_float_ops_keep_float_weights() -> None:
    result = quantize(network(), QuantizationScheme(Precision.INT8_WEIGHTS, float_ops=("Conv",)))
    assert integer_weights(result) == {"hidden_w_quantized"}


def test_half_precision_rounds_every_float_constant() -> None:
    model, samples = network(), images(10, shape=(1, 16, 8, 8))
    result = quantize(model, QuantizationScheme(Precision.FP16))
    for value in result.graph.initializers.values():
        array = value.const_value.numpy()
        if array.dtype == np.float32:
            assert np.array_equal(array, array.astype(np.float16).astype(np.float32))
    assert sqnr_db(run(model, samples), run(result, samples)) > 55


def test_half_precision_names_the_constant_that_it_cannot_hold() -> None:
    n = Network(1, 2)
    model = n.model(n.gemm("x", np.full((2, 2), 7e4), None, "y"))
    with pytest.raises(ModelError, match=r"constant 'y_w': 70000 is beyond float16"):
        quantize(model, QuantizationScheme(Precision.FP16))


def test_half_precision_keeps_infinities_of_masks() -> None:
    n = Network(1, 2)
    mask = n.constant(np.array([0, -np.inf], np.float32), "mask")
    result = quantize(n.model(n.op("Add", ["x", mask], "y")), QuantizationScheme(Precision.FP16))
    assert np.isneginf(result.graph.initializers["mask"].const_value.numpy()[1])


def test_single_precision_is_the_same_network() -> None:
    model = network()
    result = quantize(model, QuantizationScheme(Precision.FP32))
    assert np.array_equal(run(model, images(2, shape=(1, 16, 8, 8))), run(result, images(2, shape=(1, 16, 8, 8))))
    assert result is not model and PRECISION_KEY not in model.metadata_props
