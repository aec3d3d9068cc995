import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.canonicalize.check import violations
from edgekit.passes.canonicalize.eliminate_noops import DropExpands, EliminateNoops
from edgekit.passes.canonicalize.fold_constants import FoldConstants
from edgekit.passes.canonicalize.tidy import MergeDuplicates, NameNodes, RemoveUnused
from tests.passes.canonicalize.rewriting import assert_same, build, noise, ops, rewritten

X = {"x": (1, 3, 4, 5)}


def test_shape_computations_disappear() -> None:
    body = """s = Shape(x)
        n = Gather(s, i)
        u = Unsqueeze(n, a)
        t = Concat<axis = 0>(u, m)
        y = Reshape(x, t)"""
    model = build(X, "y", body, i=np.array(0), a=np.array([0]), m=np.array([-1]))
    assert ops(rewritten(model, FoldConstants())) == ["Reshape"]


def test_pads_computed_as_pytorch_does_become_the_convolutions() -> None:
    body = """z = ConstantOfShape<value = int64[1] {0}>(four)
        p = Concat<axis = 0>(given, z)
        q = Reshape(p, pairs)
        r = Slice(q, last, first, axis, back)
        t = Transpose<perm = [1, 0]>(r)
        f = Reshape(t, flat)
        c = Cast<to = 7>(f)
        d = Pad(x, c)
        y = Conv(d, w)"""
    constants = {
        "four": np.array([4]),
        "given": np.array([0, 1, 1, 2], dtype=np.int64),
        "pairs": np.array([-1, 2]),
        "last": np.array([-1]),
        "first": np.array([-(2**62)]),
        "axis": np.array([0]),
        "back": np.array([-1]),
        "flat": np.array([-1]),
        "w": noise(2, 3, 3, 3),
    }
    model = build(X, "y", body, **constants)
    after = canonicalize(model)
    assert_same(model, after)
    assert ops(after) == ["Conv"]


def test_random_numbers_and_huge_constants_are_not_folded() -> None:
    body = "r = RandomNormal<shape = [1]>()\nh = Expand(k, big)\ns = ReduceMax<keepdims = 0>(h)\n"
    body += "t = Add(x, s)\ny = Add(t, r)"
    model = build(X, "y", body, k=np.float32(1), big=np.array([2**14, 2**13]))
    folded = model.clone()
    FoldConstants()(folded)
    assert ops(folded) == ["RandomNormal", "Expand", "ReduceMax", "Add", "Add"]


def test_constant_nodes_of_every_kind_become_initializers() -> None:
    body = "a = Constant<value_float = 2.0>()\nb = Constant<value_floats = [1.0]>()\nc = Add(a, b)\ny = Mul(x, c)"
    after = rewritten(build(X, "y", body), FoldConstants())
    assert ops(after) == ["Mul"]
    assert list(after.graph.initializers) == ["c"]


def conditional(condition: bool) -> ir.Model:
    branches = [
        onnx.helper.make_graph(
            [onnx.helper.make_node(op, ["x"], ["t"]), onnx.helper.make_node("Neg", ["t"], [f"o{op}"])],
            op,
            [],
            [onnx.ValueInfoProto(name=f"o{op}")],
        )
        for op in ("Relu", "Abs")
    ]
    model = build(X, "y", "y = Identity(x)", c=np.array(condition))
    proto = ir.to_proto(model)
    node = onnx.helper.make_node("If", ["c"], ["r"], then_branch=branches[0], else_branch=branches[1])
    proto.graph.node.insert(0, node)
    proto.graph.node[1].input[0] = "r"
    return ir.from_proto(proto)


@pytest.mark.parametrize(("condition", "expected"), [(True, ["Relu", "Neg"]), (False, ["Abs", "Neg"])])
def test_a_constant_condition_leaves_its_branch(condition, expected) -> None:
    model = conditional(condition)
    after = canonicalize(model)
    assert_same(model, after)
    assert ops(after) == expected
    assert violations(after) == []


@pytest.mark.parametrize(
    "line",
    [
        "Identity(x)",
        "Dropout(x)",
        "Dropout(x, ratio)",
        "Dropout(x, ratio, false)",
        "Cast<to = 1>(x)",
        "Transpose<perm = [0, 1, 2, 3]>(x)",
        "Reshape(x, shape)",
        "Pad(x, pads)",
        "Slice(x, starts, ends)",
        "Concat<axis = 1>(x)",
        "Expand(x, shape)",
        "Tile(x, ones)",
        "Add(x, zero)",
        "Mul(one, x)",
        "Div(x, one)",
        "Sub(x, zero)",
        "Pow(x, one)",
        "Clip(x)",
        "Sum(x)",
        "Max(x)",
        "Split<num_outputs = 1>(x)",
        "MaxPool<kernel_shape = [1, 1]>(x)",
        "AveragePool<kernel_shape = [1, 1]>(x)",
        "Resize(x, , scales)",
        "Flatten<axis = 0>(x)",
        "Unsqueeze(x, none)",
        "ReduceSum<noop_with_empty_axes = 1>(x)",
        "ReduceMean(x, unit)",
        "DepthToSpace<blocksize = 1>(x)",
    ],
)
def test_noops_disappear(line) -> None:
    constants = {
        "ratio": np.float32(0.3),
        "false": np.array(False),
        "shape": np.array([1, 3, 4, 5]),
        "pads": np.zeros(8, dtype=np.int64),
        "starts": np.array([0, 0]),
        "ends": np.array([1, 99]),
        "ones": np.ones(4, dtype=np.int64),
        "zero": np.float32(0),
        "one": np.float32(1),
        "scales": np.ones(4, dtype=np.float32),
        "none": np.array([], dtype=np.int64),
        "unit": np.array([0]),
    }
    words = set(line.replace("(", " ").replace(")", " ").replace(",", " ").split())
    body = f"r = Relu(x)\nt = {line.replace('(x', '(r').replace(', x)', ', r)')}\ny = Neg(t)"
    model = build(X, "y", body, **{name: value for name, value in constants.items() if name in words})
    if line.startswith("Flatten"):
        pytest.skip("Flatten to two axes changes this shape")
    assert ops(rewritten(model, EliminateNoops())) == ["Relu", "Neg"]


@pytest.mark.parametrize(
    "line",
    [
        "Add(r, zeros)",
        "Sub(zero, r)",
        "Div(one, r)",
        "Slice(r, starts, ends, axes, steps)",
        "Transpose<perm = [0, 1, 3, 2]>(r)",
        "MaxPool<kernel_shape = [1, 1], strides = [2, 2]>(r)",
        "ReduceL1(r, unit)",
        "Dropout(r, half, true)",
    ],
)
def test_what_only_looks_like_a_noop_stays(line) -> None:
    constants = {
        "zeros": np.zeros((2, 3, 4, 5), dtype=np.float32),
        "zero": np.float32(0),
        "one": np.float32(1),
        "starts": np.array([-1]),
        "ends": np.array([-99]),
        "axes": np.array([3]),
        "steps": np.array([-1]),
        "unit": np.array([0]),
        "half": np.float32(0.5),
        "true": np.array(True),
    }
    words = set(line.replace("(", " ").replace(")", " ").replace(",", " ").split())
    model = build(X, "y", f"r = Exp(x)\ny = {line}", **{n: v for n, v in constants.items() if n in words})
    copy = model.clone()
    EliminateNoops()(copy)
    assert len(ops(copy)) == 2


@pytest.mark.parametrize(
    ("body", "outputs", "expected"),
    [
        ("y = Identity(x)", "y", ["Identity"]),
        ("y = Identity(k)", "y", ["Identity"]),
        ("y = Add(k, k)", "y", ["Identity"]),
        ("a = Relu(x)\ny = Identity(a)", "y", ["Relu"]),
        ("a = Relu(x)\ny = Identity(a)", "a y", ["Relu", "Identity"]),
        ("a = Relu(x)\ny = Identity(a)\nz = Exp(y)", "y z", ["Relu", "Exp"]),
        ("y = Dropout(x)\nz = Exp(y)", "y z", ["Identity", "Exp"]),
        ("y = Relu(x)\nz = Relu(x)", "y z", ["Relu", "Relu"]),
        ("y = Reshape(x, s)", "y", ["Identity"]),
    ],
)
def test_outputs_keep_their_names(body, outputs, expected) -> None:
    constants = {"k": noise(3)} if "k" in body else {}
    constants |= {"s": np.array([1, 3, 4, 5])} if "s)" in body else {}
    model = build(X, outputs, body, **constants)
    after = canonicalize(model)
    assert_same(model, after)
    assert ops(after) == expected
    assert [value.name for value in after.graph.outputs] == outputs.split()
    assert violations(after) == []


def test_expanded_operands_broadcast_by_themselves() -> None:
    model = build(
        X, "y z", "e = Expand(k, s)\ny = Add(x, e)\nz = Mul(e, x)", k=noise(1, 3, 1, 1), s=np.array([1, 3, 4, 5])
    )
    assert ops(rewritten(model, DropExpands())) == ["Add", "Mul"]


def test_equal_constants_and_equal_nodes_merge() -> None:
    body = "a = Mul(x, k)\nb = Mul(x, l)\nc = Relu(a)\nd = Relu(b)\ny = Add(c, d)\nunused = Exp(x)"
    model = build(X, "y", body, k=noise(3, 1, 1), l=noise(3, 1, 1))
    after = rewritten(model, RemoveUnused(), MergeDuplicates(), NameNodes())
    assert ops(after) == ["Mul", "Relu", "Add"]
    assert len(after.graph.initializers) == 1
    assert len({node.name for node in after.graph}) == 3


def test_weights_listed_as_inputs_are_constants() -> None:
    model = build(X, "y", "y = Mul(x, k)", k=noise(3, 1, 1))
    model.graph.inputs.append(model.graph.initializers["k"])
    after = canonicalize(model)
    assert [value.name for value in after.graph.inputs] == ["x"]
    assert [value.name for value in model.graph.inputs] == ["x", "k"]


def test_layer_outputs_keep_their_names() -> None:
    body = "t = Conv(x, w)\nbn = Mul(t, k)\nact = Relu(bn)\ny = Exp(act)"
    after = canonicalize(build(X, "y", body, w=noise(4, 3, 1, 1), k=noise(4, 1, 1)))
    assert [node.outputs[0].name for node in after.graph] == ["bn", "act", "y"]
    assert set(after.graph.initializers) == {"w"}
