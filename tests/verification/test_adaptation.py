import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgekit.exporters import ExportedInterface
from edgekit.interface import TensorSpec
from edgekit.verification.adaptation import from_artifact, to_artifact

IMAGES = hnp.arrays(np.float32, (1, 3, 4, 5), elements=st.floats(-2, 2, width=32))


def interface(**fields) -> ExportedInterface:
    spec = TensorSpec(name="x", **fields)
    return ExportedInterface((spec,), (spec,))


@given(IMAGES, st.permutations(range(4)))
def test_permutations_are_undone(image, permutation):
    moved = interface(dtype="float32", shape=(), permutation=tuple(permutation))
    feeds = to_artifact({"x": image}, moved)
    np.testing.assert_array_equal(feeds["x"], image.transpose(permutation))
    np.testing.assert_array_equal(from_artifact(feeds, moved)["x"], image)


@given(IMAGES, st.sampled_from(["int8", "uint8"]))
def test_codes_are_within_half_a_step_and_saturate(image, dtype):
    zero_point = {"int8": 0, "uint8": 128}[dtype]
    integer = interface(dtype=dtype, shape=(), scale=0.01, zero_point=zero_point)
    feeds = to_artifact({"x": image}, integer)
    assert feeds["x"].dtype == dtype
    limits = np.iinfo(dtype)
    low, high = ((limit - zero_point) * 0.01 for limit in (limits.min, limits.max))
    found = from_artifact(feeds, integer)["x"]
    assert np.abs(found - np.clip(image, low, high)).max() <= 0.005001


def test_codes_round_half_to_even_as_quantize_linear_does():
    integer = interface(dtype="int8", shape=(), scale=2.0, zero_point=0)
    assert to_artifact({"x": np.array([1, 3, 5], np.float32)}, integer)["x"].tolist() == [0, 2, 2]


def test_other_integers_are_cast():
    tokens = interface(dtype="int32", shape=(1, 2))
    assert to_artifact({"x": np.array([[3, 4]], np.int64)}, tokens)["x"].dtype == np.int32
