"""Which shape an input gets."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import ModelError
from edgekit.importers.input_shapes import resolve_input_shapes

SIZES = st.integers(1, 512)


@pytest.mark.parametrize(
    ("dims", "shape"),
    [
        ([1, 3, 8, 8], (1, 3, 8, 8)),
        (["batch", 3, 8, 8], (1, 3, 8, 8)),
        ([-1, 3, 8, 8], (1, 3, 8, 8)),
        ([0, 10], (1, 10)),
        ([None, 10], (1, 10)),
        ([], ()),
    ],
)
def test_an_open_batch_is_one(dims: list[int | str | None], shape: tuple[int, ...]) -> None:
    assert resolve_input_shapes({"x": dims}, None) == {"x": shape}


def test_a_symbol_has_one_size_in_all_inputs() -> None:
    declared = {"x": ["n", 3], "mask": [5, "n"], "y": ["m", "t"]}
    assert resolve_input_shapes(declared, {"y": (2, 7)}) == {"x": (1, 3), "mask": (5, 1), "y": (2, 7)}
    assert resolve_input_shapes({"a": ["n", "t"], "b": ["n", "t"]}, {"a": (4, 9)}) == {"a": (4, 9), "b": (4, 9)}


@given(st.lists(SIZES, min_size=1, max_size=5), st.data())
def test_any_shape_that_fits_is_taken(shape: list[int], data: st.DataObject) -> None:
    opened = [data.draw(st.sampled_from([size, None, -1, f"d{i}"])) for i, size in enumerate(shape)]
    assert resolve_input_shapes({"x": opened}, {"x": tuple(shape)}) == {"x": tuple(shape)}


def test_open_dimensions_say_what_to_type() -> None:
    with pytest.raises(ModelError, match=re.escape('"image" has shape [n, 3, h, ?]')) as raised:
        resolve_input_shapes({"image": ["n", 3, "h", None]}, None)
    assert "--input-shape image=1,3,224,224" in str(raised.value)


def test_an_unknown_rank_says_what_to_type() -> None:
    with pytest.raises(ModelError, match=r"unknown rank.*--input-shape x="):
        resolve_input_shapes({"x": None}, None)
    assert resolve_input_shapes({"x": None}, {"x": (1, 2)}) == {"x": (1, 2)}


def test_a_wrong_name_shows_the_nearest() -> None:
    with pytest.raises(ModelError, match=r'"imgae".*"image", "mask"; did you mean "image"'):
        resolve_input_shapes({"image": [None, 3], "mask": [1]}, {"imgae": (1, 3)})


@pytest.mark.parametrize("shape", [(1, 4), (1,), (1, 3, 1)])
def test_a_static_dimension_cannot_change(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=re.escape("has shape [?, 3], which does not admit")):
        resolve_input_shapes({"x": [None, 3]}, {"x": shape})


@pytest.mark.parametrize("size", [0, -1])
def test_sizes_are_positive(size: int) -> None:
    with pytest.raises(ModelError, match="at least 1"):
        resolve_input_shapes({"x": [None, None]}, {"x": (1, size)})


def test_one_symbol_cannot_have_two_sizes() -> None:
    with pytest.raises(ModelError, match='"n" is already 2'):
        resolve_input_shapes({"a": ["n"], "b": ["n"]}, {"a": (2,), "b": (3,)})
