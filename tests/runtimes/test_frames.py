import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgekit.runtimes.frames import decode, encode

DTYPES = st.sampled_from(["float32", "float16", "float64", "int8", "uint8", "int32", "int64", "bool"])
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))


def reader(content: bytes):
    stream = io.BytesIO(content)

    def read(size: int) -> bytes:
        found = stream.read(size)
        if len(found) < size:
            raise EOFError
        return found

    return read


@given(st.dictionaries(st.text(min_size=1), ARRAYS, max_size=3))
def test_arrays_come_back_as_they_were(tensors):
    header, found = decode(reader(b"".join(encode("run", tensors, note="x"))))
    assert (header["kind"], header["note"]) == ("run", "x")
    assert list(found) == list(tensors)
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_a_transposed_array_is_sent_in_the_order_that_it_shows():
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    _, found = decode(reader(b"".join(encode("run", {"x": array}))))
    np.testing.assert_array_equal(found["x"], array)


def test_a_cut_frame_is_an_end_of_file():
    content = b"".join(encode("run", {"x": np.ones(100, np.float32)}))
    with pytest.raises(EOFError):
        decode(reader(content[:-1]))


def test_what_is_no_frame_is_refused_before_memory_is_taken():
    with pytest.raises(ValueError, match="header"):
        decode(reader(b"\xff" * 64))
