"""NumPy files: what is read is what was written, in constant memory, and every broken file is one clear DataError."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgekit.data import open_samples
from edgekit.errors import DataError, UsageError
from edgekit.interface import TensorSpec

IMAGE = TensorSpec("image", "float32", (1, 4, 5, 3))


def save(path: Path, **arrays: np.ndarray) -> str:
    np.savez(path, **arrays)
    return str(path)


def read(spec: str, *inputs: TensorSpec, **options: int) -> list[dict[str, np.ndarray]]:
    return list(open_samples(spec, inputs or (IMAGE,), **options))


def pixels(count: int = 6, shape: tuple[int, ...] = (4, 5, 3)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    array=hnp.arrays(
        st.sampled_from(["uint8", "int8", "int16", ">i4", "int64", "float16", "float32", ">f8", "bool"]),
        hnp.array_shapes(min_dims=1, max_dims=5, min_side=1, max_side=4),
        elements={"min_value": 0, "max_value": 100} | {"allow_nan": False},
    )
    | hnp.arrays("bool", hnp.array_shapes(min_dims=1, max_dims=4, max_side=4)),
    deflated=st.booleans(),
    transposed=st.booleans(),
    plain=st.booleans(),
)
def test_every_shape_type_and_order_comes_back_as_it_was(tmp_path, array, deflated, transposed, plain):
    array = np.asfortranarray(array) if transposed else array
    path = tmp_path / ("a.npy" if plain else "a.npz")
    if plain:
        np.save(path, array)
    else:
        (np.savez_compressed if deflated else np.savez)(path, x=array)
    spec = TensorSpec("image", "float32", (1, *array.shape[1:]))
    samples = open_samples(path, [spec])
    assert len(samples) == len(array)
    for _ in range(2):  # a second pass gives the same
        got = [sample["image"] for sample in samples]
        assert all(each.shape == spec.shape and each.dtype == np.float32 for each in got)
        np.testing.assert_array_equal(np.concatenate(got), array.astype(np.float32))


def test_inputs_by_name_with_labels_beside_them(tmp_path):
    a, b = np.ones((3, 2), np.float32), np.arange(12).reshape(3, 4)
    path = save(tmp_path / "two.npz", a=a, b=b, y=np.array([2, 0, 1]))
    inputs = (TensorSpec("b", "int64", (1, 4)), TensorSpec("a", "float32", (1, 2)))
    samples = open_samples(path, inputs)
    assert samples.labels.tolist() == [2, 0, 1]
    assert [list(sample) for sample in samples] == [["b", "a"]] * 3
    assert np.concatenate([sample["b"] for sample in samples]).tolist() == b.tolist()


def test_an_input_called_y_is_no_label(tmp_path):
    samples = open_samples(save(tmp_path / "y.npz", y=np.ones((2, 3))), [TensorSpec("y", "float32", (1, 3))])
    assert samples.labels is None
    assert len(list(samples)) == 2


def test_samples_that_have_the_batch_axis_are_taken_as_they_are(tmp_path):
    path = save(tmp_path / "b.npz", x=pixels(shape=(1, 4, 5, 3)))
    assert [sample["image"].shape for sample in open_samples(path, [IMAGE])] == [(1, 4, 5, 3)] * 6


def test_a_fixed_batch_groups_samples_and_leaves_the_rest_out(tmp_path):
    x = pixels(11)
    path = save(tmp_path / "b.npz", x=x, y=np.arange(11))
    samples = open_samples(path, [TensorSpec("image", "uint8", (4, 4, 5, 3))])
    assert len(samples) == len(list(samples)) == 2
    assert samples.batch == 4
    np.testing.assert_array_equal(np.concatenate([sample["image"] for sample in samples]), x[samples.labels])
    assert len(samples.labels) == 8
    with pytest.raises(DataError, match="11 samples; the model's batch is 16"):
        open_samples(path, [TensorSpec("image", "uint8", (16, 4, 5, 3))])


@pytest.mark.parametrize("limit", [1, 3, 7, 10, 11, 500])
def test_a_limit_is_spread_over_the_set(tmp_path, limit):
    path = save(tmp_path / "s.npz", x=np.arange(10)[:, None], y=np.repeat([0, 1], 5))
    samples = open_samples(path, [TensorSpec("image", "int32", (1, 1))], limit=limit)
    values = [int(sample["image"][0, 0]) for sample in samples]
    assert len(samples) == len(values) == min(limit, 10)
    assert values == sorted(set(values))
    assert samples.labels.tolist() == [value // 5 for value in values]
    assert limit == 1 or set(samples.labels) == {0, 1}


def test_a_limit_below_one_is_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match="at least 1"):
        open_samples(save(tmp_path / "s.npz", x=pixels()), [IMAGE], limit=0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.full((3, 4, 5, 3), np.nan)}, r'bad\.npz: array "x", sample 0: has NaN'),
        ({"x": np.full((3, 4, 5, 3), -np.inf, "f2")}, "has infinity"),
        ({"x": np.full((3, 4, 5, 3), 1e39)}, "too large for the model's float32"),
        ({"x": np.ones((3, 20, 3))}, r'has shape \(20, 3\); input "image" wants \(1, 4, 5, 3\)'),
        ({"x": np.ones((3, 4, 5))}, r"has shape \(4, 5\)"),
        ({"x": np.ones((3, 3, 4, 5))}, r"axes look swapped .*transpose\(0, 2, 3, 1\)"),
        ({"x": np.ones((3, 1, 3, 4, 5))}, r"axes look swapped"),
        ({"x": np.ones((3, 4, 5, 3, 1))}, "reshape"),
        ({"x": np.ones((3, 8, 4, 5, 3))}, "looks like a batch of 8"),
        ({"imgae": np.ones((3, 4, 5, 3))}, r'array "imgae" is no input of the model; did you mean "image"\?'),
        ({"x": np.ones((3, 4, 5, 3)), "z": np.ones(3)}, 'array "x" is no input|array "z" is no input'),
        ({"x": np.ones((0, 4, 5, 3))}, "no samples"),
        ({"x": np.array([None, 1])}, "pickled objects are never loaded"),
        ({"x": np.array(["a"])}, "expected numbers"),
        ({"x": np.ones((3, 4, 5, 3), complex)}, "expected numbers"),
        ({"x": np.zeros(3, [("a", "f4")])}, "expected numbers"),
        ({"x": np.float32(3)}, "single number"),
        ({"y": np.arange(3)}, r'has no arrays; expected "image" or "x"'),
        ({"image": pixels(3), "y": np.arange(4)}, r'array "y": labels of shape \(4,\) for 3 samples'),
        ({"image": pixels(3), "y": np.array([0, -1, 2])}, "label 1 is -1"),
        ({"image": pixels(3), "y": np.array([0, 1, 2.5])}, "label 2 is 2.5"),
        ({"image": pixels(3), "y": np.array([0, np.nan, 2])}, "label 1 is nan"),
        ({"image": pixels(3), "y": np.array(["cat", "dog", "cat"])}, "expected numbers"),
        ({"image": pixels(3), "y": np.full((3, 4), 0.25)}, "row 0 is not one-hot"),
        ({"image": pixels(3), "y": np.array([0, 10, 2])}, "label 1 is 10; the model has 10 classes, 0 to 9"),
    ],
)
def test_bad_arrays_are_named(tmp_path, arrays, message):
    path = save(tmp_path / "bad.npz", **arrays)
    with pytest.raises(DataError, match=message) as caught:
        list(open_samples(path, [IMAGE], classes=10))
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_the_sample_with_the_nan_is_named(tmp_path):
    x = np.zeros((9, 4, 5, 3), np.float32)
    x[7, 1, 2, 0] = np.nan
    with pytest.raises(DataError, match='array "x", sample 7: has NaN'):
        read(save(tmp_path / "nan.npz", x=x))


def test_arrays_of_different_lengths(tmp_path):
    path = save(tmp_path / "d.npz", a=np.ones((3, 2)), b=np.ones((4, 2)))
    with pytest.raises(DataError, match='array "b" has 4 samples, but "a" has 3'):
        open_samples(path, [TensorSpec("a", "float32", (1, 2)), TensorSpec("b", "float32", (1, 2))])


def test_a_missing_input(tmp_path):
    path = save(tmp_path / "d.npz", a=np.ones((3, 2)))
    with pytest.raises(DataError, match=r'no array for input "b" \(has: a\)'):
        open_samples(path, [TensorSpec("a", "float32", (1, 2)), TensorSpec("b", "float32", (1, 2))])


@pytest.mark.parametrize("labels", [[[0, 1, 0], [0, 0, 1]], [[1], [2]], [1.0, 2.0]])
def test_labels_may_be_one_hot_a_column_or_whole_floats(tmp_path, labels):
    path = save(tmp_path / "l.npz", x=pixels(2), y=np.array(labels))
    assert open_samples(path, [IMAGE]).labels.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("dtype", "values", "message"),
    [
        ("uint8", [0.0, 255.0], None),
        ("int8", [0, 127], None),
        ("bool", [0, 1], None),
        ("float16", [0, 60000], None),
        ("uint8", [-1, 0], "uint8 holds 0 to 255"),
        ("int8", [0.0, 128.0], "int8 holds -128 to 127"),
        ("int32", [0.5, 1.0], "wants whole numbers"),
        ("int64", [np.nan, 0], "NaN"),
        ("bool", [0, 2], "bool holds 0 to 1"),
        ("float16", [0, 70000], "too large"),
    ],
)
def test_values_are_cast_only_when_the_models_type_holds_them(tmp_path, dtype, values, message):
    path = save(tmp_path / "c.npz", x=np.array([values]))
    spec = TensorSpec("image", dtype, (1, 2))
    if message is None:
        (sample,) = read(path, spec)
        assert sample["image"].dtype == dtype
        assert sample["image"].tolist() == [values]
    else:
        with pytest.raises(DataError, match=message):
            read(path, spec)


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("suffix", ["npz", "npy"])
@pytest.mark.parametrize("kept", [0, 1, 50, 90, 200, 0.5, 0.99])
def test_truncated_files_are_refused(tmp_path, deflated, suffix, kept):
    path = tmp_path / f"t.{suffix}"
    x = np.random.default_rng(0).random((6, 4, 5, 3))
    if suffix == "npy":
        np.save(path, x)
    else:
        (np.savez_compressed if deflated else np.savez)(path, x=x)
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(DataError, match=r"truncated|not an \.npz|not a NumPy array"):
        read(str(path))


def test_a_damaged_deflate_stream_is_refused(tmp_path):
    path = tmp_path / "d.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).random((6, 4, 5, 3)))
    content = bytearray(path.read_bytes())
    content[400:420] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        read(str(path))


def test_text_under_an_array_suffix_is_refused(tmp_path):
    for name in ("text.npz", "text.npy"):
        (tmp_path / name).write_text("hello " * 100)
        with pytest.raises(DataError, match=rf"{name}.* not an? "):
            read(str(tmp_path / name))


def test_an_npy_under_the_other_suffix_says_so(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, pixels())
    with pytest.raises(DataError, match=r"is an \.npy file"):
        read(str(tmp_path / "a.npz"))


def test_a_header_that_claims_more_than_the_file_has_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "h.npz", "w") as archive, archive.open("x.npy", "w") as member:
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 4, 5, 3)}
        )
    with pytest.raises(DataError, match="truncated"):
        read(str(tmp_path / "h.npz"))


def test_a_pickle_is_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "run",))

    np.savez(tmp_path / "p.npz", x=np.array([Bomb()], dtype=object))
    np.save(tmp_path / "p.npy", np.array([Bomb()], dtype=object))
    for name in ("p.npz", "p.npy"):
        with pytest.raises(DataError, match="never loaded"):
            read(str(tmp_path / name))
    assert not (tmp_path / "run").exists()


def test_the_digest_is_the_files_own(tmp_path):
    import hashlib

    path = tmp_path / "s.npz"
    save(path, x=pixels())
    assert open_samples(path, [IMAGE]).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


# VmHWM, because ru_maxrss of a new process starts at its parent's.
_PEAK = """
import sys
import numpy as np
from edgekit.data import open_samples
from edgekit.interface import TensorSpec
samples = open_samples(sys.argv[1], [TensorSpec("image", "float32", (1, 3, 240, 240))])
assert sum(float(sample["image"][0, 0, 0, 0]) for sample in samples) == len(samples)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("suffix", ["npz", "compressed.npz", "npy"])
def test_memory_does_not_grow_with_the_number_of_samples(tmp_path, suffix):
    peaks = []
    for count in (63, 630):
        path, x = tmp_path / f"{count}.{suffix}", np.ones((count, 3, 240, 240), np.float32)
        if suffix == "npy":
            np.save(path, x)
        else:
            (np.savez_compressed if suffix.startswith("compressed") else np.savez)(path, x=x)
        run = subprocess.run([sys.executable, "-c", _PEAK, path], capture_output=True, text=True, check=True)
        path.unlink()
        peaks.append(int(run.stdout))  # kB
    assert peaks[1] <= 1.10 * peaks[0]


def claim(path: Path, **shapes: tuple[int, ...]) -> str:
    """Write deflated arrays of zeros of any size, a little at a time."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, shape in shapes.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)
                left = int(np.prod(shape, dtype=object))
                while left > 0:
                    member.write(bytes(min(left, 1 << 24)))
                    left -= 1 << 24
    return str(path)


def test_a_row_or_label_of_gigabytes_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    row = claim(tmp_path / "row.npz", x=(1, 1 << 28))
    labels = claim(tmp_path / "labels.npz", x=(2, 4, 5, 3), y=(2, 1 << 27))
    many = claim(tmp_path / "many.npz", x=(2, 4, 5, 3), y=(1 << 28,))
    described = tmp_path / "d.toml"
    described.write_text('source = "row.npz"\n[preprocessing]\nscale = 0.5\nlayout = "nhwc"\n')
    monkeypatch.setattr("edgekit.data.arrays._read_into", lambda *_: pytest.fail("nothing may be read"))
    monkeypatch.setattr("edgekit.data.arrays._MAX_LABEL_BYTES", 1 << 27)
    monkeypatch.setattr("edgekit.data.samples._MAX_IMAGE_VALUES", 1 << 27)
    for path, message in (
        (row, r"sample 0: has shape \(268435456,\); input \"image\" wants \(1, 4, 5, 3\)"),
        (labels, r"takes 268435456 bytes for 2 labels; expected one class index each"),
        (many, r"labels of shape \(268435456,\) for 2 samples"),
        (str(described), "expected an image of at most"),
    ):
        with pytest.raises(DataError, match=message):
            open_samples(path, [IMAGE])
