import numpy as np
import pytest

from edgekit.errors import ModelError
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.canonicalize.fold_batch_norm import FoldIntoNext, FoldIntoPrevious, LowerBatchNorm
from edgekit.passes.canonicalize.merge_affine import MergeAffine
from tests.passes.canonicalize.rewriting import build, noise, ops, rewritten


def norm(channels: int, variance: np.ndarray | None = None) -> dict[str, np.ndarray]:
    given = np.abs(noise(channels, seed=4)) + 0.1 if variance is None else variance
    return {"s": noise(channels, seed=1), "b": noise(channels, seed=2), "m": noise(channels, seed=3), "v": given}


@pytest.mark.parametrize("shape", [(1, 6, 9), (1, 6, 8, 9), (1, 6, 5, 6, 7)], ids=["1d", "2d", "3d"])
@pytest.mark.parametrize(
    ("op", "group", "weight"),
    [
        ("Conv", 1, (4, 6)),
        ("Conv", 2, (4, 3)),
        ("Conv", 6, (12, 1)),
        ("ConvTranspose", 1, (6, 4)),
        ("ConvTranspose", 2, (6, 2)),
        ("ConvTranspose", 6, (6, 2)),
    ],
)
@pytest.mark.parametrize("bias", [False, True])
def test_batch_norm_goes_into_the_convolution_in_front(shape, op, group, weight, bias) -> None:
    out = weight[0] if op == "Conv" else weight[1] * group
    extra = {"c": noise(out, seed=8)} if bias else {}
    body = f"t = {op}<group = {group}>(x, w{', c' if bias else ''})\ny = BatchNormalization(t, s, b, m, v)"
    model = build({"x": shape}, "y", body, w=noise(*weight, *[3] * (len(shape) - 2)), **extra, **norm(out))
    assert ops(rewritten(model, LowerBatchNorm(), FoldIntoPrevious())) == [op]


def test_batch_norm_goes_into_fully_connected_layers() -> None:
    body = "t = MatMul(x, w)\ny = BatchNormalization(t, s, b, m, v)"
    canonical = canonicalize(build({"x": (3, 5)}, "y", body, w=noise(5, 4), **norm(4)))
    assert ops(canonical) == ["Gemm"]


@pytest.mark.parametrize("variance", [[0.0, 1e-42, 1.0, 1e-12], [-1e-6, 4.0, 1.0, 2.0], [1e30, 1e-3, np.inf, 1.0]])
def test_strange_variances_give_what_the_runtime_gives(variance) -> None:
    body = "t = Conv(x, w)\ny = BatchNormalization<epsilon = 1e-5>(t, s, b, m, v)"
    constants = norm(4, np.array(variance, dtype=np.float32))
    model = build({"x": (1, 3, 5, 5)}, "y", body, w=noise(4, 3, 3, 3), **constants)
    assert ops(rewritten(model, LowerBatchNorm(), FoldIntoPrevious())) == ["Conv"]


def test_an_impossible_variance_is_not_folded_into_the_weights() -> None:
    body = "t = Conv(x, w)\ny = BatchNormalization<epsilon = 0.0>(t, s, b, m, v)"
    constants = norm(2, np.array([0.0, 1.0], dtype=np.float32))
    canonical = canonicalize(build({"x": (1, 3, 5, 5)}, "y", body, w=noise(2, 3, 3, 3), **constants))
    assert ops(canonical)[0] == "Conv"
    assert np.isfinite(canonical.graph.node(0).inputs[1].const_value.numpy()).all()


def test_training_mode_is_an_error_that_names_the_node() -> None:
    body = "y, rm, rv = BatchNormalization<training_mode = 1>(x, s, b, m, v)"
    model = build({"x": (1, 4, 5, 5)}, "y", body, **norm(4))
    model.graph.node(0).name = "stem/bn"
    with pytest.raises(ModelError, match=r"'stem/bn'.*model\.eval"):
        canonicalize(model)


def test_a_batch_norm_alone_becomes_scale_and_shift_per_channel() -> None:
    model = build({"x": (1, 4, 5, 5)}, "y", "t = Relu(x)\ny = BatchNormalization(t, s, b, m, v)", **norm(4))
    lowered = rewritten(model, LowerBatchNorm())
    assert ops(lowered) == ["Relu", "Mul", "Add"]
    assert all(tuple(node.inputs[1].shape) == (1, 4, 1, 1) for node in list(lowered.graph)[1:])


@pytest.mark.parametrize("outputs", ["y t", "y z"])
def test_a_convolution_that_others_read_stays_as_it_is(outputs) -> None:
    body = "t = Conv(x, w)\ny = BatchNormalization(t, s, b, m, v)\nz = Relu(t)"
    model = build({"x": (1, 3, 5, 5)}, outputs, body, w=noise(4, 3, 1, 1), **norm(4))
    assert "Mul" in ops(rewritten(model, LowerBatchNorm(), FoldIntoPrevious()))


def test_shared_weights_are_copied() -> None:
    body = "t = Conv(x, w)\nu = Conv(x, w)\nv1 = Mul(t, k)\ny = Sub(v1, u)"
    model = build({"x": (1, 3, 5, 5)}, "y", body, w=noise(4, 3, 1, 1), k=noise(4, 1, 1))
    folded = rewritten(model, FoldIntoPrevious())
    assert ops(folded) == ["Conv", "Conv", "Sub"]
    assert len(folded.graph.initializers) == 2


@pytest.mark.parametrize(
    ("constant", "folds"),
    [
        ((4, 1, 1), True),
        ((1, 4, 1, 1), True),
        ((), True),
        ((1,), True),
        ((1, 1, 1, 1), True),
        ((4,), False),
        ((1, 4), False),
        ((4, 4), False),
        ((1, 1, 4, 1), False),
        ((1, 4, 4, 4), False),
        ((2, 4, 1, 1), False),
    ],
)
@pytest.mark.parametrize("op", ["Mul", "Add", "Sub", "Div"])
def test_only_constants_per_channel_fold(op, constant, folds) -> None:
    body = f"t = Conv(x, w, c)\ny = {op}(t, k)"
    model = build({"x": (1, 3, 4, 4)}, "y", body, w=noise(4, 3, 1, 1), c=noise(4), k=noise(*constant) + np.float32(3))
    assert ops(rewritten(model, FoldIntoPrevious())) == (["Conv"] if folds else ["Conv", op])


def test_subtracting_the_convolution_from_a_constant_folds() -> None:
    model = build(
        {"x": (1, 3, 4, 4)}, "y", "t = Conv(x, w, c)\ny = Sub(k, t)", w=noise(4, 3, 1, 1), c=noise(4), k=noise(4, 1, 1)
    )
    assert ops(rewritten(model, FoldIntoPrevious())) == ["Conv"]


def test_weights_that_would_overflow_do_not_fold() -> None:
    big = np.full((4, 3, 1, 1), 1e30, dtype=np.float32)
    model = build({"x": (1, 3, 4, 4)}, "y", "t = Conv(x, w)\ny = Mul(t, k)", w=big, k=np.float32(1e20))
    copy = model.clone()
    FoldIntoPrevious()(copy)
    assert ops(copy) == ["Conv", "Mul"]


@pytest.mark.parametrize(("pads", "shift", "left"), [(0, (3, 1, 1), []), (1, (3, 1, 1), ["Add"]), (1, None, [])])
def test_input_scaling_goes_into_the_first_layer(pads, shift, left) -> None:
    body = (
        "t = Mul(x, k)\n"
        + ("u = Add(t, a)\n" if shift else "u = Identity(t)\n")
        + f"y = Conv<pads = [{pads}, {pads}, {pads}, {pads}]>(u, w)"
    )
    constants = {"a": noise(*shift)} if shift else {}
    canonical = canonicalize(build({"x": (1, 3, 6, 6)}, "y", body, w=noise(4, 3, 3, 3), k=np.float32(0.1), **constants))
    assert ops(canonical) == (["Mul", *left, "Conv"] if left else ["Conv"])


def test_a_scale_that_differs_between_input_channels_stays() -> None:
    model = build({"x": (1, 3, 6, 6)}, "y", "t = Mul(x, k)\ny = Conv(t, w)", w=noise(4, 3, 3, 3), k=noise(3, 1, 1))
    assert ops(rewritten(model, FoldIntoNext())) == ["Mul", "Conv"]


def test_chains_of_constants_become_one_scale_and_one_shift() -> None:
    body = "t = Sub(x, a)\nu = Div(t, b)\nv = Mul(c, u)\ny = Add(v, d)"
    constants = {"a": noise(3, 1, 1), "b": noise(3, 1, 1) + np.float32(4), "c": np.float32(2), "d": noise(1, 3, 1, 1)}
    model = build({"x": (1, 3, 6, 6)}, "y", body, **constants)
    assert ops(rewritten(model, MergeAffine(), MergeAffine())) == ["Mul", "Add"]
