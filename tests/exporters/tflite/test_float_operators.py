"""Every operator in the real interpreter against onnxruntime, from the source layout and from channels last."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from onnx import TensorProto

from tests.exporters.tflite.graphs import Builder, check

F = np.float32
_generator = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray:
    return _generator.standard_normal(shape).astype(F)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


@dataclass
class Case:
    """One node: ``inputs`` are shapes (tuples) for activations and arrays for constants."""

    op: str
    inputs: list
    attributes: dict = field(default_factory=dict)
    outputs: int = 1
    dtype: int = TensorProto.FLOAT
    tolerance: float = 1e-5
    positive: bool = False

    def __str__(self) -> str:
        shapes = "_".join("x".join(map(str, i)) if isinstance(i, tuple) else "c" for i in self.inputs if i is not None)
        texts = "_".join(f"{k}={v}" for k, v in self.attributes.items())
        return f"{self.op}-{shapes}-{texts}".replace(" ", "")


IMAGE = (1, 4, 6, 5)
UNARY = [
    "Abs",
    "Ceil",
    "Cos",
    "Exp",
    "Floor",
    "Neg",
    "Round",
    "Sign",
    "Sin",
    "Sigmoid",
    "Tanh",
    "Relu",
    "Softplus",
    "Softsign",
    "Erf",
    "HardSwish",
    "Mish",
    "Identity",
    "Elu",
    "Selu",
    "LeakyRelu",
    "HardSigmoid",
    "ThresholdedRelu",
    "Celu",
    "Gelu",
    "Sinh",
    "Cosh",
    "Atan",
    "Dropout",
    "Reciprocal",
    "Tan",
]
CASES = [
    *(Case(op, [IMAGE], tolerance=1e-4 if op in ("Tan", "Reciprocal") else 1e-5) for op in UNARY),
    *(Case(op, [IMAGE], positive=True) for op in ("Log", "Sqrt")),
    *(
        Case(op, [IMAGE], {"alpha": 0.3})
        for op in ("Elu", "Selu", "LeakyRelu", "HardSigmoid", "ThresholdedRelu", "Celu")
    ),
    Case("HardSigmoid", [IMAGE], {"alpha": 1 / 6, "beta": 0.5}),
    Case("Gelu", [IMAGE], {"approximate": "tanh"}),
    Case("Clip", [IMAGE, F(0), F(6)]),
    Case("Clip", [IMAGE, F(-1), F(1)]),
    Case("Clip", [IMAGE, F(0), F(1)]),
    Case("Clip", [IMAGE, F(-0.5), F(0.25)]),
    Case("Clip", [IMAGE, F(0.1)]),
    Case("Clip", [IMAGE, "", F(0.1)]),
    Case("PRelu", [IMAGE, normal(4, 1, 1)]),
    Case("PRelu", [IMAGE, normal(1)]),
    Case("PRelu", [IMAGE, normal(4, 6, 5)]),
    *(
        Case(op, [IMAGE, IMAGE], positive=op in ("Div", "Pow"))
        for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow")
    ),
    *(Case(op, [IMAGE, IMAGE]) for op in ("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal", "Sum", "Mean")),
    *(
        Case("Add", [IMAGE, normal(*shape)])
        for shape in ((), (1,), (5,), (6, 1), (4, 1, 1), (1, 4, 1, 1), (2, 1, 1, 1))
    ),
    *(Case("Mul", [IMAGE, shape]) for shape in ((5,), (4, 1, 1), (1, 4, 1, 1), (6, 1), (3, 1, 1, 1))),
    Case("Sub", [normal(1, 4, 1, 1), IMAGE]),
    Case("Add", [(2, 1, 3, 1, 5), (4, 1, 2, 5)]),
    Case("Add", [(2, 4, 3, 1, 5, 3), (2, 1, 3, 2, 5, 1)]),
    Case("Sub", [(2, 4, 3, 2, 5), (2, 4, 1, 1, 1)]),
    Case("Max", [IMAGE, normal(4, 1, 1), F(0.2)]),
    Case("Sum", [IMAGE, IMAGE, IMAGE]),
    Case("Mean", [IMAGE, IMAGE, normal(4, 1, 1)]),
    *(Case("Pow", [IMAGE, F(e)], positive=e != 2) for e in (2, 0.5, -0.5, 3)),
    *(
        Case("Add", [IMAGE, ints(*range(5)).astype(t)], dtype=d)
        for t, d in ((np.int64, TensorProto.INT64), (np.int32, TensorProto.INT32))
    ),
    Case("Mod", [IMAGE, np.array(3, np.int64)], dtype=TensorProto.INT64),
    *(Case(op, [IMAGE, IMAGE], dtype=TensorProto.BOOL) for op in ("And", "Or", "Xor")),
    Case("Not", [IMAGE], dtype=TensorProto.BOOL),
    Case("IsNaN", [IMAGE]),
    *(
        Case("Cast", [IMAGE], {"to": t})
        for t in (TensorProto.INT32, TensorProto.INT64, TensorProto.FLOAT, TensorProto.BOOL, TensorProto.FLOAT16)
    ),
    # convolutions
    Case("Conv", [IMAGE, normal(8, 4, 3, 3), normal(8)], {"pads": [1, 1, 1, 1]}),
    Case("Conv", [IMAGE, normal(8, 4, 3, 3)], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    Case("Conv", [IMAGE, normal(8, 4, 3, 2)], {"strides": [2, 1], "pads": [0, 1, 2, 0]}),
    Case("Conv", [IMAGE, normal(8, 4, 3, 3)], {"dilations": [2, 2], "pads": [2, 2, 2, 2]}),
    Case("Conv", [IMAGE, normal(8, 4, 2, 2)], {"strides": [3, 3]}),
    Case("Conv", [IMAGE, normal(8, 4, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    Case("Conv", [IMAGE, normal(8, 4, 4, 4)], {"auto_pad": "SAME_LOWER"}),
    Case("Conv", [IMAGE, normal(4, 1, 3, 3), normal(4)], {"group": 4, "pads": [1, 1, 1, 1]}),
    Case("Conv", [IMAGE, normal(12, 1, 3, 3), normal(12)], {"group": 4, "dilations": [2, 1]}),
    Case("Conv", [IMAGE, normal(8, 2, 3, 3), normal(8)], {"group": 2, "pads": [1, 1, 1, 1]}),
    Case("Conv", [(1, 1, 7, 7), normal(8, 1, 3, 3), normal(8)]),
    Case("Conv", [(3, 4, 6, 5), normal(8, 4, 1, 1)]),
    Case("Conv", [(2, 4, 9), normal(6, 4, 3), normal(6)], {"pads": [1, 1]}),
    Case("Conv", [(2, 4, 9), normal(4, 1, 3), normal(4)], {"group": 4, "pads": [2, 0], "strides": [2]}),
    Case("Conv", [(1, 2, 5, 6, 4), normal(3, 2, 3, 3, 3), normal(3)], {"pads": [1, 1, 1, 1, 1, 1]}),
    Case("Conv", [(1, 2, 5, 6, 4), normal(3, 2, 2, 2, 2)], {"strides": [2, 2, 1], "pads": [1, 0, 0, 0, 1, 0]}),
    Case("ConvTranspose", [IMAGE, normal(4, 3, 2, 2), normal(3)], {"strides": [2, 2]}),
    Case(
        "ConvTranspose",
        [IMAGE, normal(4, 3, 3, 3), normal(3)],
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
    ),
    Case("ConvTranspose", [IMAGE, normal(4, 3, 4, 4)], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    Case("ConvTranspose", [IMAGE, normal(4, 3, 3, 3)], {"strides": [2, 2], "pads": [0, 0, 1, 1]}),
    Case("ConvTranspose", [IMAGE, normal(4, 3, 3, 3)], {"strides": [3, 3], "output_padding": [2, 1]}),
    Case("ConvTranspose", [IMAGE, normal(4, 3, 2, 3)], {"dilations": [2, 2], "pads": [1, 1, 1, 1]}),
    Case("ConvTranspose", [IMAGE, normal(4, 3, 3, 3), normal(6)], {"group": 2, "strides": [2, 2]}),
    Case("ConvTranspose", [IMAGE, normal(4, 3, 3, 3)], {"strides": [2, 2], "output_shape": [12, 10]}),
    Case("ConvTranspose", [IMAGE, normal(4, 3, 3, 3)], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    Case("ConvTranspose", [IMAGE, normal(4, 3, 3, 3)], {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    Case("ConvTranspose", [(1, 4, 7), normal(4, 3, 3), normal(3)], {"strides": [2], "pads": [1, 1]}),
    # pools
    *(
        Case(op, [IMAGE], {"kernel_shape": [3, 3], **attributes})
        for op in ("MaxPool", "AveragePool")
        for attributes in (
            {},
            {"strides": [2, 2]},
            {"pads": [1, 1, 1, 1]},
            {"strides": [2, 2], "pads": [1, 1, 1, 1]},
            {"strides": [2, 2], "ceil_mode": 1},
            {"strides": [2, 2], "pads": [1, 0, 0, 1], "ceil_mode": 1},
            {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
            {"strides": [2, 1], "auto_pad": "SAME_LOWER"},
        )
    ),
    Case("AveragePool", [IMAGE], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    Case(
        "AveragePool",
        [IMAGE],
        {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 1, 1, 0], "count_include_pad": 1, "ceil_mode": 1},
    ),
    Case("MaxPool", [(2, 4, 9)], {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
    Case("AveragePool", [(2, 4, 9)], {"kernel_shape": [2], "strides": [2]}),
    *(Case(op, [shape]) for op in ("GlobalAveragePool", "GlobalMaxPool") for shape in (IMAGE, (2, 3, 7))),
    # reductions
    *(
        Case(f"Reduce{op}", [IMAGE, ints(*axes)], {"keepdims": keep}, positive="Log" in op, tolerance=1e-4)
        for op in ("Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")
        for axes, keep in (((2, 3), 1), ((2, 3), 0), ((1,), 0), ((-1,), 1), ((0, 2), 0))
    ),
    Case("ReduceMean", [IMAGE]),
    *(
        Case(op, [IMAGE], {"axis": axis, "keepdims": keep})
        for op in ("ArgMax", "ArgMin")
        for axis, keep in ((1, 0), (-1, 1), (2, 1))
    ),
    *(Case(op, [IMAGE], {"axis": axis}) for op in ("Softmax", "LogSoftmax") for axis in (1, 2, -1)),
    *(
        Case("TopK", [IMAGE, ints(3)], {"axis": axis, "largest": largest}, outputs=2)
        for axis, largest in ((1, 1), (-1, 0))
    ),
    *(
        Case("CumSum", [IMAGE, np.array(axis)], {"reverse": r, "exclusive": e})
        for axis, r, e in ((1, 0, 0), (3, 1, 1), (-2, 0, 1))
    ),
    # shapes
    *(
        Case("Reshape", [IMAGE, ints(*shape)])
        for shape in (
            (1, -1),
            (4, 30),
            (1, 4, 30),
            (1, 2, 2, 6, 5),
            (6, 20),
            (1, 4, 6, 5, 1),
            (1, 1, 4, 6, 5),
            (120,),
            (2, 60),
            (1, 4, 3, 2, 5),
        )
    ),
    Case("Flatten", [IMAGE]),
    Case("Flatten", [IMAGE], {"axis": 2}),
    Case("Squeeze", [IMAGE, ints(0)]),
    Case("Unsqueeze", [IMAGE, ints(0, 3)]),
    *(Case("Transpose", [IMAGE], {"perm": p}) for p in ([0, 2, 3, 1], [0, 3, 1, 2], [3, 2, 1, 0], [1, 0, 2, 3])),
    Case("Transpose", [(2, 3, 4, 5, 6)], {"perm": [4, 2, 0, 3, 1]}),
    Case("Transpose", [(2, 3, 2, 3, 2, 3)], {"perm": [5, 1, 3, 0, 2, 4]}),
    *(Case("Concat", [IMAGE, IMAGE, IMAGE], {"axis": axis}) for axis in (0, 1, 2, -1)),
    Case("Concat", [IMAGE, normal(1, 2, 6, 5)], {"axis": 1}),
    *(Case("Split", [IMAGE], {"axis": axis, "num_outputs": 2}, outputs=2) for axis in (1, 2)),
    Case("Split", [IMAGE, ints(1, 3)], {"axis": 1}, outputs=2),
    Case("Expand", [(1, 4, 1, 5), ints(2, 4, 6, 5)]),
    Case("Expand", [(4, 1, 5), ints(2, 1, 6, 1)]),
    Case("Tile", [IMAGE, ints(2, 1, 1, 3)]),
    *(Case("DepthToSpace", [(2, 12, 3, 5)], {"blocksize": 2, "mode": mode}) for mode in ("DCR", "CRD")),
    Case("SpaceToDepth", [(2, 3, 4, 6)], {"blocksize": 2}),
    # slices and pads
    Case("Slice", [IMAGE, ints(1, 2), ints(3, 5), ints(1, 2)]),
    Case("Slice", [IMAGE, ints(1), ints(2**62), ints(2), ints(2)]),
    Case("Slice", [IMAGE, ints(-1), ints(-(2**62)), ints(3), ints(-1)]),
    Case("Slice", [IMAGE, ints(-2, 4), ints(0, 1), ints(2, -1), ints(-2, -2)]),
    Case("Slice", [IMAGE, ints(-3), ints(-1), ints(-1)]),
    Case("Pad", [IMAGE, ints(0, 1, 2, 0, 0, 0, 1, 3)]),
    Case("Pad", [IMAGE, ints(0, 1, 2, 0, 0, 0, 1, 3), F(-2.5)]),
    Case("Pad", [IMAGE, ints(1, 1, 2, 2), F(1), ints(3, 2)]),
    Case("Pad", [IMAGE, ints(0, 0, -1, 1, 0, 0, 1, -2)]),
    *(Case("Pad", [IMAGE, ints(0, 0, 2, 1, 0, 0, 1, 3)], {"mode": mode}) for mode in ("reflect", "edge", "wrap")),
    # indices
    *(
        Case("Gather", [IMAGE, index], {"axis": axis})
        for axis in (1, -1)
        for index in (np.array(2), ints(0, -1), ints(3, 0, 1, 1).reshape(2, 2))
    ),
    Case("GatherND", [IMAGE, np.array([[0, 1], [0, -1]])]),
    Case("GatherElements", [IMAGE, _generator.integers(0, 4, (1, 2, 6, 5))], {"axis": 1}),
    Case("ScatterND", [IMAGE, np.array([[0, 1], [0, 3]]), (2, 6, 5)]),
    # products
    Case("Gemm", [(3, 8), normal(5, 8), normal(5)], {"transB": 1}),
    Case("Gemm", [(8, 3), normal(8, 5), normal(5)], {"transA": 1, "alpha": 0.5, "beta": 2.0}),
    Case("Gemm", [(3, 8), normal(8, 5), normal(3, 1)]),
    Case("Gemm", [(3, 8), (5, 8), (5,)], {"transB": 1, "alpha": 0.5}),
    Case("MatMul", [(3, 8), normal(8, 5)]),
    Case("MatMul", [(2, 3, 8), normal(8, 5)]),
    Case("MatMul", [(2, 4, 3, 8), (2, 4, 8, 5)]),
    Case("MatMul", [(2, 4, 3, 8), (8, 5)]),
    Case("MatMul", [(1, 4, 3, 8), normal(4, 8, 5)]),
    Case("MatMul", [(8,), (3, 8, 5)]),
    Case("MatMul", [(3, 4, 8), (8,)]),
    Case("MatMul", [normal(3, 8), (8, 5)]),
    *(
        Case("Einsum", [x, y], {"equation": equation})
        for equation, x, y in (
            ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)),
            ("bqhd,bkhd->bhqk", (2, 4, 3, 5), (2, 6, 3, 5)),
            ("bhqk,bkhd->bqhd", (2, 3, 4, 6), (2, 6, 3, 5)),
            ("ij,jk->ik", (3, 4), (4, 5)),
            ("nchw,cd->ndhw", (2, 4, 3, 5), (4, 6)),
        )
    ),
    # normalizations
    Case("BatchNormalization", [IMAGE, normal(4), normal(4), normal(4), np.abs(normal(4)) + F(0.5)]),
    Case("InstanceNormalization", [IMAGE, normal(4), normal(4)], tolerance=1e-4),
    Case("LayerNormalization", [(2, 7, 16), normal(16), normal(16)], tolerance=1e-4),
    Case("LayerNormalization", [IMAGE, normal(4, 6, 5)], {"axis": 1}, tolerance=1e-4),
    Case("GroupNormalization", [IMAGE, normal(4), normal(4)], {"num_groups": 2}, tolerance=1e-4),
    *(Case("LpNormalization", [IMAGE], {"p": p, "axis": axis}) for p, axis in ((1, 1), (2, -1))),
    Case("MeanVarianceNormalization", [IMAGE], tolerance=1e-4),
    Case("LRN", [(1, 9, 4, 5)], {"size": 5, "alpha": 0.01}),
    # recurrent
    *(
        Case(
            op,
            [(5, 2, 3), normal(d, g * 4, 3), normal(d, g * 4, 4), normal(d, 2 * g * 4), *extra],
            {"hidden_size": 4, "direction": direction, **more},
            outputs=3 if op == "LSTM" else 2,
        )
        for op, g in (("LSTM", 4), ("GRU", 3), ("RNN", 1))
        for d, direction in ((1, "forward"), (1, "reverse"), (2, "bidirectional"))
        for extra in ([], ["", normal(d, 2, 4)])
        for more in (({}, {"linear_before_reset": 1}) if op == "GRU" else ({},))
    ),
    # resizing
    *(
        Case("Resize", [(1, 3, 5, 6), "", "", ints(1, 3, *size)], {"mode": mode, "coordinate_transformation_mode": t})
        for mode in ("nearest", "linear")
        for t in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
        for size in ((10, 12), (7, 9), (3, 3))
    ),
    *(
        Case("Resize", [(1, 3, 5, 6), "", np.array([1, 1, 2, 1.5], F)], {"mode": mode, "nearest_mode": rounding})
        for mode, rounding in (
            ("nearest", "floor"),
            ("nearest", "ceil"),
            ("nearest", "round_prefer_ceil"),
            ("linear", "floor"),
        )
    ),
    Case("Resize", [(1, 3, 5, 6), "", np.array([1, 1, 2.3, 1.7], F)], {"mode": "linear"}),
    Case("Resize", [(1, 3, 5, 6), "", "", ints(1, 3, 10, 4)], {"mode": "cubic"}, tolerance=1e-4),
    Case("Resize", [(1, 3, 8, 9), "", "", ints(1, 3, 3, 4)], {"mode": "linear", "antialias": 1}, tolerance=1e-4),
]


def build(case: Case, *, channels_last: bool):
    """``channels_last`` puts a 1x1 convolution before and after each image so that its layout is not the source's."""
    builder = Builder()
    names = []
    for index, given in enumerate(case.inputs):
        if not isinstance(given, tuple):
            names.append(given)
            continue
        name = builder.input(f"x{index}", given, case.dtype)
        if case.positive:
            name = builder.node("Abs", [name])
            name = builder.node("Add", [name, F(0.3)])
        if channels_last and len(given) in (3, 4):
            kernel = np.eye(given[1], dtype=F).reshape(given[1], given[1], *[1] * (len(given) - 2))
            name = builder.node("Conv", [name, kernel])
        names.append(name)
    outputs = builder.node(case.op, names, case.outputs, **case.attributes)
    return builder.model(*([outputs] if isinstance(outputs, str) else outputs))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator_from_the_source_layout(case: Case) -> None:
    check(build(case, channels_last=False), atol=case.tolerance, rtol=case.tolerance)


LAID_OUT = [
    c
    for c in CASES
    if c.dtype == TensorProto.FLOAT and any(isinstance(i, tuple) and len(i) in (3, 4) for i in c.inputs)
]


@pytest.mark.parametrize("case", LAID_OUT, ids=str)
def test_operator_from_channels_last(case: Case) -> None:
    check(build(case, channels_last=True), atol=case.tolerance, rtol=case.tolerance)
