from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.errors import UsageError
from edgekit.interface import Precision
from edgekit.passes.quantize import PRECISION_KEY, QuantizationScheme, calibrate, quantize
from tests.passes.quantize.networks import Network, images, mobile_network, run, sqnr_db

NEAREST = QuantizationScheme(Precision.INT8)
BEST = QuantizationScheme(Precision.INT8, observer="mse", rounding="gptq", bias_correction=True)
SAME_SCALE = {"Reshape", "Transpose", "MaxPool", "AveragePool", "Concat", "Pad", "Slice", "Squeeze", "Max", "Min"}


def value_of(value: ir.Value | None) -> Any:
    assert value is not None and value.const_value is not None
    return value.const_value.numpy()


def params(dequantized: ir.Value | None) -> tuple[float, int]:
    """Scale and zero point of a value that a DequantizeLinear makes."""
    assert dequantized is not None
    node = dequantized.producer()
    assert node is not None and node.op_type == "DequantizeLinear", dequantized.name
    return float(value_of(node.inputs[1])), int(value_of(node.inputs[2]))


def output_params(value: ir.Value) -> tuple[float, int]:
    """Scale and zero point of the QuantizeLinear that reads ``value``, past a fused activation."""
    (consumer,) = {use.node for use in value.uses()}
    if consumer.op_type in ("Relu", "Clip"):
        return output_params(consumer.outputs[0])
    assert consumer.op_type == "QuantizeLinear"
    return float(value_of(consumer.inputs[1])), int(value_of(consumer.inputs[2]))


def quantized(model: ir.Model, scheme: QuantizationScheme = BEST, samples: Any = None) -> ir.Model:
    return quantize(model, scheme, calibrate(model, images(16) if samples is None else samples))


def check_contract(model: ir.Model) -> None:
    """What holds in every static int8 graph, whatever the network."""
    names = [node.name for node in model.graph] + [v.name for node in model.graph for v in node.outputs]
    assert len(set(names)) == len(names)
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale = value_of(node.inputs[1])
            assert scale.dtype == np.float32 and np.all(np.isfinite(scale)) and np.all(scale > 0)
        if node.op_type == "QuantizeLinear":
            assert value_of(node.inputs[1]).shape == () and value_of(node.inputs[2]).dtype == np.int8
        if node.op_type in ("Conv", "Gemm"):
            check_weighted(node)
        if node.op_type in SAME_SCALE and is_dequantized(node.inputs[0]):
            count = len(node.inputs) if node.op_type in ("Concat", "Max", "Min") else 1
            for value in node.inputs[:count]:
                assert params(value) == output_params(node.outputs[0])


def is_dequantized(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def check_weighted(node: ir.Node) -> None:
    weight = node.inputs[1].producer()
    codes, scale, zero = (value_of(value) for value in weight.inputs)
    assert codes.dtype == np.int8 and codes.min() >= -127 and np.all(zero == 0)
    if len(node.inputs) < 3:
        return
    bias = node.inputs[2].producer()
    assert len(bias.inputs) == 2 and value_of(bias.inputs[0]).dtype == np.int32
    expected = np.float32(params(node.inputs[0])[0]) * np.broadcast_to(scale, value_of(bias.inputs[1]).shape)
    assert np.array_equal(value_of(bias.inputs[1]), expected)


@pytest.mark.parametrize("scheme", [NEAREST, BEST])
def test_a_mobile_network(scheme: QuantizationScheme) -> None:
    model, held_back = mobile_network(), images(40, seed=9)
    network = quantized(model, scheme)
    check_contract(network)
    assert network.metadata_props[PRECISION_KEY] == "int8"
    assert [value.name for value in network.graph.outputs] == ["logits"]
    assert sqnr_db(run(model, held_back), run(network, held_back)) > 24


def test_gptq_and_bias_correction_pay() -> None:
    gains = []
    for seed in range(4):
        model, held_back = mobile_network(seed), images(60, seed=9)
        calibration = calibrate(model, images(32))
        exact = run(model, held_back)
        schemes = [
            QuantizationScheme(Precision.INT8, weight_bits=7, rounding=rounding, bias_correction=rounding == "gptq")
            for rounding in ("nearest", "gptq")
        ]
        nearest, gptq = (sqnr_db(exact, run(quantize(model, s, calibration), held_back)) for s in schemes)
        gains.append(gptq - nearest)
    assert np.mean(gains) > 0.5


def test_onnxruntime_computes_what_the_codes_say() -> None:
    """A convolution simulated with integers is onnxruntime's, but for one step where it rounds in another order."""
    n = Network(1, 3, 8, 8)
    model = n.model(n.op("Relu", [n.conv("x", n.random.normal(size=(4, 3, 3, 3)), "y", n.random.normal(size=4))], "z"))
    samples = images(8, shape=(1, 3, 8, 8))
    network = quantized(model, BEST, samples)
    conv = next(node for node in network.graph if node.op_type == "Conv")
    weight, bias = conv.inputs[1].producer(), conv.inputs[2].producer()
    (s_x, z_x), (s_y, z_y) = params(conv.inputs[0]), output_params(conv.outputs[0])
    codes = np.clip(np.rint(samples[0]["x"] / np.float32(s_x)) + z_x, -128, 127).astype(np.int64) - z_x
    patches = np.lib.stride_tricks.sliding_window_view(codes[0], (3, 3), axis=(1, 2))
    accumulated = np.einsum("chwij,ocij->ohw", patches, value_of(weight.inputs[0]).astype(np.int64))
    accumulated += value_of(bias.inputs[0]).astype(np.int64)[:, None, None]
    real = accumulated * value_of(bias.inputs[1]).astype(np.float64)[:, None, None]
    expected = np.clip(np.rint(real / s_y) + z_y, -128, 127)
    found = np.rint(run(network, samples[:1])[0].reshape(4, 6, 6) / s_y) + z_y
    assert np.abs(found - expected).max() <= 1
    assert np.mean(found != expected) < 0.02


def test_a_fused_activation_leaves_its_input_alone() -> None:
    network = quantized(mobile_network())
    clip = next(node for node in network.graph if node.op_type == "Clip")
    assert clip.inputs[0].producer().op_type == "Conv"
    assert [use.node.op_type for use in clip.outputs[0].uses()] == ["QuantizeLinear"]


def test_a_clip_that_excludes_zero_is_not_fused() -> None:
    n = Network(1, 3, 8, 8)
    y = n.conv("x", n.random.normal(size=(4, 3, 1, 1)), "y")
    bounds = [n.constant(np.array(v, np.float32), f"bound{v}") for v in (1.0, 2.0)]
    model = n.model(n.op("Clip", [y, *bounds], "z"))
    samples = images(4, shape=(1, 3, 8, 8))
    network = quantized(model, BEST, samples)
    assert output_params(next(node for node in network.graph if node.op_type == "Conv").outputs[0])
    assert sqnr_db(run(model, samples), run(network, samples)) > 30


def test_graph_outputs_keep_their_names_and_are_quantized() -> None:
    n = Network(1, 4)
    a = n.gemm("x", n.random.normal(size=(6, 4)), None, "a")
    b = n.op("Softmax", [a], "b", axis=-1)
    network = quantized(n.model(a, b), NEAREST, images(8, shape=(1, 4)))
    assert [value.name for value in network.graph.outputs] == ["a", "b"]
    assert params(network.graph.outputs[1]) == (1 / 256, -128)
    raw = {value.name for node in network.graph for value in node.outputs}
    assert {"a_raw", "b_raw"} <= raw


def test_fixed_ranges() -> None:
    n = Network(1, 4)
    tails = [n.op(op, ["x"], op.lower()) for op in ("Sigmoid", "Tanh", "Softmax", "LogSoftmax")]
    network = quantized(n.model(*tails), NEAREST, images(8, shape=(1, 4)))
    found = [params(value) for value in network.graph.outputs]
    assert found == [(1 / 256, -128), (1 / 128, 0), (1 / 256, -128), (16 / 256, 127)]


def test_a_join_of_fixed_ranges_is_requantized_on_its_edges() -> None:
    n = Network(1, 4)
    joined = n.op("Concat", [n.op("Sigmoid", ["x"], "s"), n.op("Tanh", ["x"], "t"), "x"], "joined", axis=1)
    model, samples = n.model(n.gemm(joined, n.random.normal(size=(6, 12)), None, "y")), images(16, shape=(1, 4))
    network = quantized(model, NEAREST, samples)
    check_contract(network)
    concat = next(node for node in network.graph if node.op_type == "Concat")
    assert [value.name.startswith(f"{v}_requantized") for value, v in zip(concat.inputs[:2], "st", strict=True)] == [
        True
    ] * 2
    assert sqnr_db(run(model, samples), run(network, samples)) > 30


def test_a_join_of_one_fixed_range_keeps_it() -> None:
    n = Network(1, 4)
    joined = n.op("Concat", [n.op("Sigmoid", ["x"], "s"), n.op("Sigmoid", ["x"], "t")], "joined", axis=1)
    network = quantized(n.model(joined), NEAREST, images(4, shape=(1, 4)))
    assert params(network.graph.outputs[0]) == (1 / 256, -128)
    assert not any("requantized" in (v.name or "") for node in network.graph for v in node.outputs)


def test_ops_without_a_rule_stay_float_between_the_pairs() -> None:
    n = Network(1, 4)
    y = n.op("Erf", [n.gemm("x", n.random.normal(size=(4, 4)), None, "y")], "e")
    network = quantized(n.model(n.gemm(y, n.random.normal(size=(2, 4)), None, "z")), NEAREST, images(4, shape=(1, 4)))
    erf = next(node for node in network.graph if node.op_type == "Erf")
    assert erf.inputs[0].producer().op_type == "DequantizeLinear"
    assert [use.node.op_type for use in erf.outputs[0].uses()] == ["QuantizeLinear"]


def test_float_ops_stay_float() -> None:
    scheme = QuantizationScheme(Precision.INT8, float_ops=("Gemm",))
    network = quantized(mobile_network(), scheme)
    gemm = next(node for node in network.graph if node.op_type == "Gemm")
    assert gemm.inputs[1].is_initializer()
    assert network.graph.outputs[0].producer() is gemm


def test_integers_and_floats_around_nothing_computed_are_untouched() -> None:
    n = Network(1, 4)
    exp = n.op("Exp", [n.op("Reshape", ["x", n.constant(np.array([2, 2]), "shape")], "r")], "e")
    network = quantized(n.model(exp), NEAREST, images(4, shape=(1, 4)))
    assert [node.op_type for node in network.graph] == ["Reshape", "Exp"]


def test_constant_operands_have_their_own_codes() -> None:
    n = Network(1, 4)
    offset = n.constant(np.array([[0.5, -1.0, 2.0, 0.0]], np.float32), "offset")
    model, samples = n.model(n.op("Mul", [n.op("Add", ["x", offset], "a"), offset], "y")), images(16, shape=(1, 4))
    network = quantized(model, NEAREST, samples)
    add = next(node for node in network.graph if node.op_type == "Add")
    assert value_of(add.inputs[1].producer().inputs[0]).dtype == np.int8
    assert params(add.inputs[1]) == (pytest.approx(3 / 255), -43)
    assert sqnr_db(run(model, samples), run(network, samples)) > 30


def test_a_constant_that_is_also_a_bound_stays_float_there() -> None:
    n = Network(1, 4)
    one = n.constant(np.array(1, np.float32), "one")
    zero = n.constant(np.array(0, np.float32), "zero")
    model = n.model(n.op("Clip", [n.op("Add", ["x", one], "a"), zero, one], "y"))
    network = quantized(model, NEAREST, images(4, shape=(1, 4)))
    clip = next(node for node in network.graph if node.op_type == "Clip")
    assert clip.inputs[2].name == "one"


def test_attention_is_quantized_on_both_sides() -> None:
    n = Network(1, 6, 8)
    q, k = (
        n.op("MatMul", ["x", n.constant(n.random.normal(size=(8, 8)).astype(np.float32), f"w{v}")], v) for v in "qk"
    )
    scores = n.op("MatMul", [q, n.op("Transpose", [k], "kt", perm=[0, 2, 1])], "scores")
    model, samples = n.model(n.op("Softmax", [scores], "y", axis=-1)), images(16, shape=(1, 6, 8))
    network = quantized(model, BEST, samples)
    check_contract(network)
    matmul = next(node for node in network.graph if node.outputs[0].name == "scores")
    assert all(value.producer().op_type == "DequantizeLinear" for value in matmul.inputs)
    weight = next(node for node in network.graph if node.outputs[0].name == "q").inputs[1].producer()
    assert weight.attributes.get_int("axis") == 1 and value_of(weight.inputs[1]).shape == (8,)
    assert sqnr_db(run(model, samples), run(network, samples)) > 20


def test_a_weight_of_two_operators_is_stored_once() -> None:
    n = Network(1, 4)
    shared = n.constant(n.random.normal(size=(4, 4)).astype(np.float32), "w")
    attributes = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}
    model = n.model(n.op("Gemm", [n.op("Gemm", ["x", shared], "a", **attributes), shared], "b", **attributes))
    network = quantized(model, BEST, images(8, shape=(1, 4)))
    first, second = (node.inputs[1] for node in network.graph if node.op_type == "Gemm")
    assert first is second


def test_transposed_convolutions() -> None:
    for group, weight_shape, scales in ((1, (4, 6, 3, 3), (6,)), (2, (4, 3, 3, 3), ())):
        n = Network(1, 4, 5, 5)
        weight = n.constant(n.random.normal(size=weight_shape).astype(np.float32), "w")
        bias = n.constant(n.random.normal(size=6).astype(np.float32), "b")
        spatial = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0] * 4, "dilations": [1, 1], "group": group}
        model = n.model(n.op("ConvTranspose", ["x", weight, bias], "y", **spatial))
        samples = images(8, shape=(1, 4, 5, 5))
        network = quantized(model, BEST, samples)
        node = next(node for node in network.graph if node.op_type == "ConvTranspose")
        assert value_of(node.inputs[1].producer().inputs[1]).shape == scales
        assert sqnr_db(run(model, samples), run(network, samples)) > 25


@pytest.mark.parametrize("scheme", [NEAREST, BEST, QuantizationScheme(Precision.INT8, weight_granularity="per_tensor")])
def test_one_sample_suffices(scheme: QuantizationScheme) -> None:
    model = mobile_network()
    network = quantized(model, scheme, images(1))
    check_contract(network)
    assert sqnr_db(run(model, images(1)), run(network, images(1))) > 20


@pytest.mark.parametrize("scheme", [NEAREST, BEST])
def test_dead_channels_outliers_and_huge_biases(scheme: QuantizationScheme) -> None:
    n = Network(1, 3, 8, 8)
    weight, bias = n.random.normal(size=(4, 3, 3, 3)), np.array([1e6, -3.0, 2e4, 0.0])
    weight[0] = 0
    weight[1] = 1e-30
    weight[3, 0, 0, 0] = 1e8
    y = n.conv("x", weight, "y", bias)
    model, samples = (
        n.model(n.conv(y, np.zeros((2, 4, 1, 1)), "z", np.array([1.0, -2.0]))),
        images(6, shape=(1, 3, 8, 8)),
    )
    network = quantized(model, scheme, samples)
    check_contract(network)
    found = run(network, samples)
    assert np.all(np.isfinite(found))
    assert np.allclose(found, run(model, samples), atol=0.05)


def test_seven_bit_weights_keep_to_seven_bits() -> None:
    network = quantized(mobile_network(), QuantizationScheme(Precision.INT8, weight_bits=7, rounding="gptq"))
    for node in network.graph:
        if node.op_type == "Conv":
            assert np.abs(value_of(node.inputs[1].producer().inputs[0]).astype(int)).max() == 63


def test_static_int8_without_calibration() -> None:
    with pytest.raises(UsageError, match="needs calibration data"):
        quantize(mobile_network(), NEAREST)


@pytest.mark.parametrize("mask", [-np.inf, -1e9, float(np.finfo(np.float32).min)])
def test_an_attention_mask_stays_float(mask: float) -> None:
    n = Network(1, 4, 4)
    scores = n.op("MatMul", ["x", n.constant(n.random.normal(size=(4, 4)).astype(np.float32), "w")], "scores")
    hidden = n.constant(np.triu(np.full((4, 4), mask, np.float32), 1), "mask")
    masked = n.op("Reshape", [n.op("Add", [scores, hidden], "a"), n.constant(np.array([4, 4]), "shape")], "masked")
    weights = n.op("Softmax", [masked], "weights", axis=-1)
    model = n.model(n.gemm(weights, n.random.normal(size=(3, 4)), None, "y"))
    samples = images(12, shape=(1, 4, 4))
    network = quantized(model, BEST, samples)
    softmax = next(node for node in network.graph if node.op_type == "Softmax")
    assert [node.op_type for node in softmax.predecessors()] == ["Reshape"]
    assert sqnr_db(run(model, samples), run(network, samples)) > 25


UNARY = ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSwish", "Exp", "Clip6")


@st.composite
def networks(draw: st.DrawFn) -> ir.Model:
    """Chains and joins of random operators on [1, 4, 6, 6]."""
    n = Network(1, 4, 6, 6, seed=draw(st.integers(0, 1000)))
    values = ["x"]
    for i in range(draw(st.integers(1, 7))):
        source, other, name = draw(st.sampled_from(values)), draw(st.sampled_from(values)), f"v{i}"
        kind = draw(st.sampled_from(["conv", "depthwise", "add", "mul", "pool", "transpose", "concat", *UNARY]))
        if kind == "conv":
            values.append(n.conv(source, n.random.normal(size=(4, 4, 3, 3)) / 6, name, n.random.normal(size=4), pad=1))
        elif kind == "depthwise":
            values.append(n.conv(source, n.random.normal(size=(4, 1, 3, 3)) / 3, name, group=4, pad=1))
        elif kind in ("add", "mul"):
            values.append(n.op(kind.capitalize(), [source, other], name))
        elif kind == "pool":
            values.append(n.op("MaxPool", [source], name, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]))
        elif kind == "transpose":
            values.append(n.op("Transpose", [source], name, perm=[0, 1, 3, 2]))
        elif kind == "concat":
            joined = n.op("Concat", [source, other], f"{name}_joined", axis=1)
            values.append(n.conv(joined, n.random.normal(size=(4, 8, 1, 1)) / 3, name))
        elif kind == "Clip6":
            values.append(n.relu6(source, name))
        elif kind == "Exp":
            values.append(n.op("Exp", [n.op("Tanh", [source], f"{name}_t")], name))
        else:
            values.append(n.op(kind, [source], name))
    return n.model(values[-1], *({draw(st.sampled_from(values[1:]))} - {values[-1]}))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks(), st.sampled_from([NEAREST, BEST]))
def test_random_networks_stay_close_to_float(model: ir.Model, scheme: QuantizationScheme) -> None:
    samples = images(12, shape=(1, 4, 6, 6))
    network = quantized(model, scheme, samples)
    check_contract(network)
    exact = run(model, samples)
    if np.abs(exact).max() > 1e-3:
        assert sqnr_db(exact, run(network, samples)) > 12


def test_what_only_a_root_reads_stays_float() -> None:
    network = Network(1, 3, 8, 8)
    weight = network.random.normal(size=(4, 3, 3, 3))
    real, imaginary = (network.conv("x", weight * scale, name) for name, scale in (("re", 1.0), ("im", 0.5)))
    power = network.op("Add", [network.op("Mul", [v, v], f"{v}2") for v in (real, imaginary)], "power")
    network.conv(network.op("Sqrt", [power], "magnitude"), network.random.normal(size=(2, 4, 1, 1)), "y")
    model = network.model("y")
    result = quantized(model, samples=images(16, shape=(1, 3, 8, 8)))
    left = {str(node.name) for node in result.graph if node.op_type == "QuantizeLinear"}
    assert not any("re2" in name or "im2" in name or "power" in name for name in left), left
    samples = images(16, shape=(1, 3, 8, 8))
    assert sqnr_db(run(model, samples), run(result, samples)) > 30


def maps(model, samples, axis: int = 1):
    """The first output [samples, channels, ...], of channels at ``axis``."""
    return np.moveaxis(run(model, samples).reshape(len(samples), *model.graph.outputs[0].shape[1:]), axis, 1)


@pytest.mark.parametrize("last", ["Concat", "Transpose", "Slice"])
def test_a_detectors_scores_keep_their_scale_beside_its_boxes(last: str) -> None:
    n = Network(1, 3, 8, 8)
    boxes = n.conv("x", n.random.normal(size=(4, 3, 1, 1)) * 100, "boxes")
    scores = n.op("Sigmoid", [n.conv("x", n.random.normal(size=(6, 3, 1, 1)), "logits")], "scores")
    if last == "Slice":
        bounds = [n.constant(np.array([bound]), f"bound{bound}") for bound in (1, 5)]
        scores = n.op("Slice", [scores, *bounds, bounds[0]], "taken")
    output = n.op("Concat", [boxes, scores], "joined", axis=1)
    if last == "Transpose":
        output = n.op("Transpose", [output], "y", perm=[0, 2, 3, 1])
    model, samples = n.model(output), images(16, shape=(1, 3, 8, 8))
    network = quantized(model, samples=samples)
    exact, given = (maps(each, samples, -1 if last == "Transpose" else 1) for each in (model, network))
    for part in (slice(4), slice(4, None)):
        assert sqnr_db(exact[:, part], given[:, part]) > 25
    assert sum(node.op_type == "QuantizeLinear" for node in network.graph) >= 4


@pytest.mark.parametrize(("small", "pieces", "floats"), [(1.0, 1, False), (1 / 600, 1, True), (1.0, 20, False)])
def test_what_is_joined_of_very_different_ranges_stays_float(small: float, pieces: int, floats: bool) -> None:
    n = Network(1, 3, 8, 8)
    weights = [n.random.normal(size=(2, 3, 3, 3)) * scale for scale in [1.0, *[small] * pieces]]
    parts = [n.conv("x", weight, f"part{index}") for index, weight in enumerate(weights)]
    model, samples = n.model(n.op("Concat", parts, "joined", axis=1)), images(16, shape=(1, 3, 8, 8))
    network = quantized(model, samples=samples)
    exact, given = maps(model, samples), maps(network, samples)
    for part in (slice(2), slice(2, None)):
        assert sqnr_db(exact[:, part], given[:, part]) > 25
    (join,) = (node for node in network.graph if node.op_type == "Concat")
    assert join.outputs[0].is_graph_output() is floats


def test_many_boxes_and_scores_in_one_output_keep_their_scales() -> None:
    n = Network(1, 3, 8, 8)
    parts = []
    for level in range(9):
        parts.append(n.conv("x", n.random.normal(size=(4, 3, 1, 1)) * 100, f"boxes{level}"))
        parts.append(n.op("Sigmoid", [n.conv("x", n.random.normal(size=(4, 3, 1, 1)), f"logits{level}")], f"s{level}"))
    model, samples = n.model(n.op("Concat", parts, "joined", axis=1)), images(16, shape=(1, 3, 8, 8))
    exact, given = maps(model, samples), maps(quantized(model, samples=samples), samples)
    scores = np.arange(72) // 4 % 2 == 1
    assert sqnr_db(exact[:, scores], given[:, scores]) > 25
