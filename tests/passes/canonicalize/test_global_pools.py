import pytest

from edgekit.passes.canonicalize.global_pools import NameGlobalPools
from tests.passes.canonicalize.rewriting import build, ops, rewritten


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool"])
def test_a_window_over_the_whole_image_is_global(op: str) -> None:
    model = build({"x": (2, 3, 6, 7)}, "y", f"y = {op}<kernel_shape = [6, 7], strides = [6, 7]>(x)")
    assert ops(rewritten(model, NameGlobalPools())) == [f"Global{op}"]


@pytest.mark.parametrize(
    "attributes",
    [
        "kernel_shape = [6, 6]",
        "kernel_shape = [6, 7], pads = [0, 0, 1, 0]",
        "kernel_shape = [3, 7], dilations = [2, 1]",
    ],
)
def test_a_smaller_or_padded_window_stays(attributes: str) -> None:
    model = build({"x": (2, 3, 6, 7)}, "y", f"y = AveragePool<{attributes}>(x)")
    assert ops(rewritten(model, NameGlobalPools())) == ["AveragePool"]


def test_a_max_pool_that_also_gives_positions_stays() -> None:
    model = build({"x": (2, 3, 6, 7)}, "y i", "y, i = MaxPool<kernel_shape = [6, 7]>(x)")
    assert ops(rewritten(model, NameGlobalPools())) == ["MaxPool"]
