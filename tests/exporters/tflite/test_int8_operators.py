"""Every operator with int8 kernels: the QDQ graph in onnxruntime against the integers of the real interpreter."""

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from edgekit.interface import Layout
from tests.exporters.tflite.graphs import INT8, Builder, export, reference

F = np.float32
IMAGE = (1, 4, 6, 5)
_generator = np.random.default_rng(11)


def normal(*shape: int) -> np.ndarray:
    return _generator.standard_normal(shape).astype(F)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


@dataclass
class Weight:
    """A symmetric int8 weight, per axis unless ``axis`` is None, and what input it follows."""

    array: np.ndarray
    axis: int | None = 0


@dataclass
class Bias:
    array: np.ndarray


@dataclass
class Case:
    """``inputs``: shapes of activations, Weight, Bias, arrays; ``scale``: "free", "same" or (scale, zero point)."""

    op: str
    inputs: list
    builtins: dict
    attributes: dict = field(default_factory=dict)
    scale: object = "free"
    follow: tuple | None = None
    outputs: int = 1
    lsb: int = 1

    def __str__(self) -> str:
        texts = "_".join(f"{k}={v}" for k, v in self.attributes.items())
        kinds = "_".join("x".join(map(str, i)) if isinstance(i, tuple) else type(i).__name__ for i in self.inputs)
        return f"{self.op}-{kinds}-{texts}{'-' + self.follow[0] if self.follow else ''}".replace(" ", "")


LOGISTIC, TANH, LOG_SOFTMAX = (1 / 256, -128), (1 / 128, 0), (16 / 256, 127)
RELU6 = ("Clip", F(0), F(6))
CONV = [IMAGE, Weight(normal(8, 4, 3, 3)), Bias(normal(8))]
SAME = {"pads": [1, 1, 1, 1]}
CASES = [
    Case("Conv", CONV, {"CONV_2D": 1}, SAME),
    Case("Conv", CONV, {"CONV_2D": 1}, SAME, follow=("Relu",)),
    Case("Conv", CONV, {"CONV_2D": 1}, SAME, follow=RELU6),
    Case("Conv", CONV, {"CONV_2D": 1}, SAME, follow=("Clip", F(-0.7), F(0.9))),
    Case("Conv", CONV, {"CONV_2D": 1, "PAD": 1}, {**SAME, "strides": [2, 2]}),
    Case("Conv", [IMAGE, Weight(normal(8, 4, 3, 3), None), Bias(normal(8))], {"CONV_2D": 1}, SAME),
    Case("Conv", [IMAGE, Weight(normal(8, 4, 3, 3))], {"CONV_2D": 1}, {"dilations": [2, 2]}),
    Case("Conv", [IMAGE, Weight(normal(8, 2, 3, 3)), Bias(normal(8))], {"CONV_2D": 1}, {**SAME, "group": 2}),
    Case("Conv", [IMAGE, Weight(normal(4, 1, 3, 3)), Bias(normal(4))], {"DEPTHWISE_CONV_2D": 1}, {**SAME, "group": 4}),
    Case(
        "Conv",
        [IMAGE, Weight(normal(8, 1, 3, 3)), Bias(normal(8))],
        {"DEPTHWISE_CONV_2D": 1},
        {**SAME, "group": 4},
        follow=RELU6,
    ),
    Case(
        "Conv",
        [(1, 4, 9), Weight(normal(6, 4, 3)), Bias(normal(6))],
        {"CONV_2D": 1, "RESHAPE": 2, "TRANSPOSE": 2},
        {"pads": [1, 1]},
        follow=("Relu",),
    ),
    Case(
        "ConvTranspose",
        [IMAGE, Weight(normal(4, 3, 2, 2), 1), Bias(normal(3))],
        {"TRANSPOSE_CONV": 1},
        {"strides": [2, 2]},
    ),
    Case(
        "ConvTranspose",
        [IMAGE, Weight(normal(4, 3, 3, 3), 1)],
        {"TRANSPOSE_CONV": 1, "SLICE": 1},
        {"strides": [2, 2], "pads": [1, 1, 0, 0]},
    ),
    Case(
        "ConvTranspose",
        [IMAGE, Weight(normal(4, 3, 2, 2), None), Bias(normal(6))],
        {"TRANSPOSE_CONV": 1},
        {"strides": [2, 2], "group": 2},
        follow=("Relu",),
    ),
    Case("Gemm", [(3, 8), Weight(normal(5, 8)), Bias(normal(5))], {"FULLY_CONNECTED": 1}, {"transB": 1}),
    Case("Gemm", [(3, 8), Weight(normal(5, 8), None)], {"FULLY_CONNECTED": 1}, {"transB": 1}, follow=("Relu",)),
    Case("MatMul", [(2, 3, 8), Weight(normal(8, 5), 1)], {"FULLY_CONNECTED": 1}),
    Case("MatMul", [(2, 3, 4, 8), (2, 3, 8, 5)], {"BATCH_MATMUL": 1}),
    *(Case(op, [IMAGE, IMAGE], {op.upper(): 1}) for op in ("Add", "Sub", "Mul")),
    Case("Add", [IMAGE, IMAGE], {"ADD": 1}, follow=("Relu",)),
    Case("Add", [IMAGE, normal(4, 1, 1)], {"ADD": 1}, lsb=2),
    Case("Mul", [IMAGE, (1, 4, 1, 1)], {"MUL": 1}),
    Case("Div", [IMAGE, F(3)], {"MUL": 1}),
    Case("Sum", [IMAGE, IMAGE], {"ADD": 1}),
    *(Case(op, [IMAGE, IMAGE], {builtin: 1}, scale="same") for op, builtin in (("Max", "MAXIMUM"), ("Min", "MINIMUM"))),
    Case("Max", [IMAGE, IMAGE], {"MAXIMUM": 1, "QUANTIZE": 2}),
    Case("MaxPool", [IMAGE], {"MAX_POOL_2D": 1}, {"kernel_shape": [2, 2], "strides": [2, 2]}, scale="same"),
    Case(
        "MaxPool",
        [IMAGE],
        {"MAX_POOL_2D": 1, "PADV2": 1},
        {"kernel_shape": [3, 3], "strides": [2, 2], **SAME},
        scale="same",
    ),
    Case("MaxPool", [IMAGE], {"MAX_POOL_2D": 1, "QUANTIZE": 1}, {"kernel_shape": [2, 2], "strides": [2, 2]}),
    Case("AveragePool", [IMAGE], {"AVERAGE_POOL_2D": 1}, {"kernel_shape": [3, 3], **SAME}, scale="same"),
    Case(
        "AveragePool",
        [IMAGE],
        {"DEPTHWISE_CONV_2D": 1, "PAD": 1},
        {"kernel_shape": [3, 3], "strides": [2, 2], "count_include_pad": 1, **SAME},
        scale="same",
    ),
    Case("AveragePool", [IMAGE], {"DEPTHWISE_CONV_2D": 1}, {"kernel_shape": [2, 2], "strides": [2, 2]}, scale="same"),
    Case(
        "AveragePool",
        [IMAGE],
        {"DEPTHWISE_CONV_2D": 1},
        {"kernel_shape": [3, 3], "count_include_pad": 1, **SAME},
        scale="same",
    ),
    Case("AveragePool", [IMAGE], {"MEAN": 1}, {"kernel_shape": [6, 5]}, scale="same"),
    Case("GlobalAveragePool", [IMAGE], {"MEAN": 1}, scale="same"),
    Case("GlobalAveragePool", [IMAGE], {"MEAN": 1}),
    Case("GlobalMaxPool", [IMAGE], {"REDUCE_MAX": 1}, scale="same"),
    Case("ReduceMean", [IMAGE, ints(2, 3)], {"MEAN": 1}),
    Case("ReduceMean", [IMAGE, ints(1)], {"MEAN": 1}, {"keepdims": 0}),
    Case("ReduceSum", [IMAGE, ints(2, 3)], {"SUM": 1}),
    *(
        Case(op, [IMAGE, ints(2)], {builtin: 1}, scale="same")
        for op, builtin in (("ReduceMax", "REDUCE_MAX"), ("ReduceMin", "REDUCE_MIN"))
    ),
    Case("Sigmoid", [IMAGE], {"LOGISTIC": 1}, scale=LOGISTIC),
    Case("Tanh", [IMAGE], {"TANH": 1}, scale=TANH),
    Case("Sigmoid", [IMAGE], {"LOGISTIC": 1, "QUANTIZE": 1}),
    Case("Softmax", [IMAGE], {"SOFTMAX": 1, "TRANSPOSE": 1}, {"axis": 1}, scale=LOGISTIC),
    Case("LogSoftmax", [(3, 9)], {"LOG_SOFTMAX": 1}, scale=LOG_SOFTMAX),
    Case("Relu", [IMAGE], {"RELU": 1}),
    Case("Clip", [IMAGE, F(0), F(6)], {"RELU6": 1}),
    Case("LeakyRelu", [IMAGE], {"LEAKY_RELU": 1}, {"alpha": 0.2}),
    Case("PRelu", [IMAGE, np.abs(normal(4, 1, 1))], {"PRELU": 1}),
    Case("HardSwish", [IMAGE], {"MUL": 2, "ADD": 1}),
    Case("Gelu", [IMAGE], {"GELU": 1}),
    Case("Concat", [IMAGE, IMAGE], {"CONCATENATION": 1}, {"axis": 1}, scale="same"),
    Case("Concat", [IMAGE, IMAGE], {"CONCATENATION": 1, "QUANTIZE": 1}, {"axis": 1}),
    Case("Split", [IMAGE], {"SPLIT": 1}, {"axis": 1, "num_outputs": 2}, scale="same", outputs=2),
    Case("Split", [IMAGE, ints(1, 3)], {"STRIDED_SLICE": 2}, {"axis": 1}, scale="same", outputs=2),
    Case("Slice", [IMAGE, ints(1), ints(3), ints(1)], {"STRIDED_SLICE": 1}, scale="same"),
    Case("Pad", [IMAGE, ints(0, 0, 1, 1, 0, 0, 1, 2)], {"PAD": 1}, scale="same"),
    Case("Pad", [IMAGE, ints(0, 0, 1, 1, 0, 0, 1, 2), F(0.5)], {"PADV2": 1}, scale="same"),
    Case("Pad", [IMAGE, ints(0, 0, 1, 1, 0, 0, 1, 2)], {"MIRROR_PAD": 1}, {"mode": "reflect"}, scale="same"),
    Case("Reshape", [IMAGE, ints(1, -1)], {"RESHAPE": 1}, scale="same"),
    Case("Gather", [IMAGE, ints(2, 0)], {"GATHER": 1}, {"axis": 1}, scale="same"),
    Case("Gather", [IMAGE, ints(2)], {"STRIDED_SLICE": 1, "RESHAPE": 0}, {"axis": 2}, scale="same"),
    Case("Expand", [(1, 4, 1, 5), ints(1, 4, 6, 5)], {"BROADCAST_TO": 1}, scale="same"),
    Case("Tile", [IMAGE, ints(1, 2, 1, 1)], {"TILE": 1}, scale="same"),
    Case("DepthToSpace", [(1, 8, 3, 3)], {"DEPTH_TO_SPACE": 1}, {"blocksize": 2}, scale="same"),
    Case(
        "DepthToSpace",
        [(1, 8, 3, 3)],
        {"DEPTH_TO_SPACE": 1, "RESHAPE": 2, "TRANSPOSE": 1},
        {"blocksize": 2, "mode": "CRD"},
        scale="same",
    ),
    Case("SpaceToDepth", [(1, 2, 4, 4)], {"SPACE_TO_DEPTH": 1}, {"blocksize": 2}, scale="same"),
    Case(
        "Resize",
        [(1, 3, 5, 6), "", "", ints(1, 3, 10, 12)],
        {"RESIZE_NEAREST_NEIGHBOR": 1},
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        scale="same",
    ),
    Case(
        "Resize", [(1, 3, 5, 6), "", "", ints(1, 3, 10, 12)], {"RESIZE_BILINEAR": 1}, {"mode": "linear"}, scale="same"
    ),
]


def _parameters(low: float, high: float) -> tuple[np.float32, np.int8]:
    low, high = min(low, 0.0), max(high, 0.0)
    scale = F((high - low) / 255)
    return scale, np.int8(np.clip(round(-128 - low / scale), -128, 127))


class QdqBuilder(Builder):
    """Activation pairs and weights as the quantized graph has them."""

    def pair(self, name: str, scale: np.float32, zero_point: np.int8, output: str | None = None) -> str:
        codes = self.node("QuantizeLinear", [name, F(scale), np.int8(zero_point)])
        return self.node("DequantizeLinear", [codes, F(scale), np.int8(zero_point)], output or 1)

    def weight(self, weight: Weight) -> tuple[str, np.ndarray]:
        axes = tuple(a for a in range(weight.array.ndim) if a != weight.axis) if weight.axis is not None else None
        scale = (np.abs(weight.array).max(axis=axes) / 127).astype(F)
        shaped = scale if weight.axis is None else np.expand_dims(scale, axes)
        codes = np.clip(np.rint(weight.array / shaped), -127, 127).astype(np.int8)
        attributes = {} if weight.axis is None else {"axis": weight.axis}
        return self.node("DequantizeLinear", [codes, scale, np.zeros(scale.shape, np.int8)], **attributes), scale

    def bias(self, bias: Bias, scale: np.ndarray) -> str:
        codes = np.rint(bias.array / scale).astype(np.int32)
        return self.node("DequantizeLinear", [codes, np.asarray(scale, F)], axis=0)


def float_outputs(case: Case, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    builder = Builder()
    names = []
    for index, given in enumerate(case.inputs):
        if isinstance(given, tuple):
            names.append(builder.input(f"x{index}", given))
        else:
            names.append(given.array if isinstance(given, Weight | Bias) else given)
    outputs = builder.node(case.op, names, case.outputs, **case.attributes)
    outputs = [outputs] if isinstance(outputs, str) else outputs
    if case.follow:
        outputs = [builder.node(case.follow[0], [outputs[0], *case.follow[1:]])]
    return list(reference(builder.model(*outputs), feeds).values())


def build(case: Case, *, channels_last: bool):
    generator = np.random.default_rng(5)
    feeds = {f"x{i}": generator.standard_normal(g).astype(F) for i, g in enumerate(case.inputs) if isinstance(g, tuple)}
    results = float_outputs(case, feeds)
    own = _parameters(
        min(a.min() for a in (*feeds.values(), *results)), max(a.max() for a in (*feeds.values(), *results))
    )
    builder, names, scales = QdqBuilder(), [], []
    for index, given in enumerate(case.inputs):
        if isinstance(given, tuple):
            feed = feeds[f"x{index}"]
            pair = own if case.scale == "same" else _parameters(feed.min(), feed.max())
            scales.append(pair[0])
            name = builder.pair(builder.input(f"x{index}", given), *pair)
            if channels_last and len(given) == 4:
                name = builder.node("Transpose", [name], perm=[0, 2, 3, 1])
                name = builder.pair(name, *pair)
                name = builder.pair(
                    builder.node(
                        "MaxPool", [builder.node("Transpose", [name], perm=[0, 3, 1, 2])], kernel_shape=[1, 1]
                    ),
                    *pair,
                )
            names.append(name)
        elif isinstance(given, Weight):
            name, scale = builder.weight(given)
            names.append(name)
        elif isinstance(given, Bias):
            factor = np.repeat(scale, len(given.array)) if np.ndim(scale) == 0 else scale
            names.append(builder.bias(given, scales[0] * factor))
        else:
            names.append(given)
    outputs = builder.node(case.op, names, case.outputs, **case.attributes)
    outputs = [outputs] if isinstance(outputs, str) else outputs
    if case.follow:
        outputs = [builder.node(case.follow[0], [outputs[0], *case.follow[1:]])]
    result = own if case.scale == "same" else case.scale
    if case.scale == "free":
        result = _parameters(min(a.min() for a in results), max(a.max() for a in results))
    final = [builder.pair(name, *result, output=f"y{i}") for i, name in enumerate(outputs)]
    return builder.model(*final), feeds, float(result[0])


@pytest.mark.parametrize("plain", [False, True], ids=["xnnpack", "builtin"])
@pytest.mark.parametrize("channels_last", [False, True], ids=["source", "channels_last"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_int8_operator(case: Case, channels_last: bool, plain: bool) -> None:
    model, feeds, scale = build(case, channels_last=channels_last)
    exported = export(model, replace(INT8, layout=Layout.NHWC))
    wanted, got = reference(model, feeds), exported.run(feeds, plain=plain)
    for name, array in wanted.items():
        difference = np.abs(got[name] - array).max() / scale
        assert difference < case.lsb + 0.01, f"{name} is {difference:.2f} LSB off"
    if not channels_last:
        floats = Counter(QUANTIZE=sum(isinstance(i, tuple) for i in case.inputs), DEQUANTIZE=case.outputs)
        assert exported.ops() == Counter(case.builtins) + floats
