import numpy as np
import pytest

from edgekit.passes.canonicalize.fold_pads import FoldPads
from edgekit.passes.canonicalize.normalize_windows import NormalizeWindows
from tests.passes.canonicalize.rewriting import build, noise, ops, rewritten

SPATIAL = np.array([0, 0, 1, 0, 0, 0, 0, 1])


def padded(consumer: str, *, pads=SPATIAL, mode="constant", value="", producer="Relu", **constants):
    body = f't = {producer}(x)\np = Pad<mode = "{mode}">(t, pads{value})\ny = {consumer}'
    return build({"x": (1, 3, 6, 7)}, "y", body, pads=pads, **constants)


@pytest.mark.parametrize("own", ["", 'auto_pad = "SAME_UPPER", ', 'auto_pad = "SAME_LOWER", ', "pads = [0, 2, 1, 0], "])
def test_zeros_in_front_of_a_convolution_fold(own) -> None:
    model = padded(f"Conv<{own}strides = [2, 2]>(p, w)", w=noise(4, 3, 3, 3))
    after = rewritten(model, FoldPads())
    assert ops(after) == ["Relu", "Conv"]


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "reflect"},
        {"mode": "edge"},
        {"value": ", one", "one": np.float32(1)},
        {"pads": np.array([0, 1, 0, 0, 0, 0, 0, 0]), "w": noise(4, 4, 3, 3)},
        {"pads": np.array([0, 0, -1, 0, 0, 0, 0, 1])},
    ],
    ids=["reflect", "edge", "value", "channels", "negative"],
)
def test_other_pads_stay_in_front_of_a_convolution(change) -> None:
    model = padded("Conv(p, w)", **{"w": noise(4, 3, 3, 3), **change})
    assert ops(rewritten(model, FoldPads())) == ["Relu", "Pad", "Conv"]


def test_the_axes_input_is_read() -> None:
    body = "p = Pad(x, pads, , axes)\ny = Conv(p, w)"
    constants = {"pads": np.array([1, 2, 3, 0]), "axes": np.array([-1, 2]), "w": noise(4, 3, 3, 3)}
    after = rewritten(build({"x": (1, 3, 6, 7)}, "y", body, **constants), FoldPads())
    assert ops(after) == ["Conv"]
    assert list(after.graph.node(0).attributes["pads"].value) == [2, 1, 0, 3]


def test_a_pad_that_others_read_stays() -> None:
    body = "p = Pad(x, pads)\ny = Conv(p, w)\nz = Relu(p)"
    model = build({"x": (1, 3, 6, 7)}, "y z", body, pads=SPATIAL, w=noise(4, 3, 3, 3))
    assert "Pad" in ops(rewritten(model, FoldPads()))


def test_zeros_count_in_an_average() -> None:
    after = rewritten(padded("AveragePool<kernel_shape = [3, 2], strides = [2, 1]>(p)"), FoldPads())
    assert ops(after) == ["Relu", "AveragePool"]
    assert after.graph.node(1).attributes["count_include_pad"].value == 1


@pytest.mark.parametrize(("include", "folds"), [(0, False), (1, True)])
def test_an_average_with_padding_of_its_own(include, folds) -> None:
    pool = f"AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = {include}>(p)"
    assert ops(rewritten(padded(pool), FoldPads())) == ["Relu", *([] if folds else ["Pad"]), "AveragePool"]


@pytest.mark.parametrize(
    ("producer", "value", "folds"),
    [
        ("Relu", "", True),
        ("Sigmoid", "", True),
        ("Tanh", "", False),
        ("Tanh", ", lowest", True),
        ("Relu", ", one", False),
    ],
)
def test_a_maximum_folds_only_what_cannot_win(producer, value, folds) -> None:
    numbers = {"lowest": np.float32(-np.inf), "one": np.float32(1)}
    constants = {name: number for name, number in numbers.items() if name in value}
    model = padded("MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(p)", producer=producer, value=value, **constants)
    assert ops(rewritten(model, FoldPads())) == [producer, *([] if folds else ["Pad"]), "MaxPool"]


def test_pads_as_large_as_the_pooling_window_stay() -> None:
    model = padded("MaxPool<kernel_shape = [2, 2]>(p)", pads=np.array([0, 0, 2, 0, 0, 0, 0, 0]))
    assert ops(rewritten(model, FoldPads())) == ["Relu", "Pad", "MaxPool"]


def test_transposed_convolutions_crop_so_their_pads_stay() -> None:
    model = padded("ConvTranspose(p, w)", w=noise(3, 2, 3, 3))
    assert ops(rewritten(model, FoldPads())) == ["Relu", "Pad", "ConvTranspose"]


@pytest.mark.parametrize(
    "attributes",
    [
        'auto_pad = "SAME_UPPER", strides = [2, 3]',
        'auto_pad = "SAME_LOWER", strides = [2, 3]',
        'auto_pad = "VALID"',
        "output_shape = [13, 20], strides = [2, 3]",
        "output_padding = [1, 2], strides = [2, 3]",
        "pads = [1, 0, 2, 1]",
        'auto_pad = "SAME_UPPER", output_shape = [12, 20], strides = [2, 3]',
    ],
)
def test_transposed_convolutions_get_explicit_pads(attributes) -> None:
    model = build({"x": (1, 3, 6, 7)}, "y", f"y = ConvTranspose<{attributes}>(x, w)", w=noise(3, 2, 3, 4))
    after = rewritten(model, NormalizeWindows())
    assert not {"auto_pad", "output_shape"} & set(after.graph.node(0).attributes)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool"])
def test_automatic_padding_becomes_numbers(op, auto_pad) -> None:
    window = "" if op == "Conv" else ", kernel_shape = [3, 2]"
    body = f'y = {op}<auto_pad = "{auto_pad}", strides = [2, 3]{window}>(x{", w" if op == "Conv" else ""})'
    constants = {"w": noise(4, 3, 3, 2)} if op == "Conv" else {}
    after = rewritten(build({"x": (1, 3, 6, 8)}, "y", body, **constants), NormalizeWindows())
    assert "auto_pad" not in after.graph.node(0).attributes and "pads" in after.graph.node(0).attributes


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("extra", ["", ", count_include_pad = 1"])
@pytest.mark.parametrize("size", [6, 7, 8])
def test_rounding_up_becomes_padding(op, extra, size) -> None:
    if op == "MaxPool" and extra:
        pytest.skip("MaxPool has no count_include_pad")
    body = f"y = {op}<kernel_shape = [3, 3], strides = [2, 2], pads = [0, 0, 0, 0], ceil_mode = 1{extra}>(x)"
    after = rewritten(build({"x": (1, 3, size, size)}, "y", body), NormalizeWindows())
    rounds = size % 2 == 0 and bool(extra)
    assert after.graph.node(0).attributes["ceil_mode"].value == rounds


def test_a_pad_that_all_its_readers_can_take_folds_into_each() -> None:
    body = (
        "p = Pad(x, pads)\na = Conv(p, w)\nb = Conv<strides = [2, 2]>(p, w)\nc = AveragePool<kernel_shape = [2, 2]>(p)"
    )
    model = build({"x": (1, 3, 6, 7)}, "a b c", body, pads=SPATIAL, w=noise(4, 3, 3, 3))
    assert ops(rewritten(model, FoldPads())) == ["Conv", "Conv", "AveragePool"]


def test_padded_weights_are_no_padded_input() -> None:
    body = "r = Relu(v)\np = Pad(r, pads)\ny = Conv(x, p)"
    model = build({"x": (1, 3, 6, 7), "v": (4, 3, 2, 2)}, "y", body, pads=SPATIAL)
    assert ops(rewritten(model, FoldPads())) == ["Relu", "Pad", "Conv"]
