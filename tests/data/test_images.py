"""Image folders and descriptors: pixels as Pillow gives them, preprocessing as the descriptor says, labels, digests."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.data import open_samples
from edgekit.data.preprocessing import ImageTransform
from edgekit.errors import DataError, DependencyError, ProfileError
from edgekit.interface import TensorSpec
from edgekit.profiles.calibration import Preprocessing

NHWC = TensorSpec("image", "float32", (1, 6, 8, 3))
NCHW = TensorSpec("image", "float32", (1, 3, 6, 8))


def picture(seed: int, height: int = 6, width: int = 8, channels: int = 3) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def describe(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_a_plain_folder_gives_raw_rgb_in_path_order_without_labels(tmp_path):
    for name in ("b.png", "a.png", "c.PNG"):
        write(tmp_path / name, picture(ord(name[0])))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image")
    samples = open_samples(tmp_path, [NHWC])
    assert samples.labels is None
    got = [sample["image"] for sample in samples]
    np.testing.assert_array_equal(np.concatenate(got), np.stack([picture(ord(c)) for c in "abc"]).astype(np.float32))


def test_sub_folders_are_classes_in_sorted_order(tmp_path):
    for name in ("dog/1.png", "cat/1.png", "cat/more/2.png", "10/1.png", "2/1.png"):
        write(tmp_path / name, picture(1))
    for name in (".cache", "__MACOSX"):
        (tmp_path / name).mkdir()
    write(tmp_path / "__MACOSX/1.png", picture(1))
    samples = open_samples(tmp_path, [NHWC])
    assert samples.labels.tolist() == [0, 1, 2, 2, 3]  # 10, 2, cat, dog


def test_a_sub_folder_without_images_would_shift_the_classes(tmp_path):
    for name in ("cat/1.png", "dog/1.png"):
        write(tmp_path / name, picture(1))
    (tmp_path / "crow").mkdir()
    with pytest.raises(DataError, match="crow: has no images"):
        open_samples(tmp_path, [NHWC])


@pytest.mark.parametrize("what", ["images", "images/cat", "set", "set/images.npz", "descriptor.toml"])
def test_what_may_not_be_read_is_one_data_error(tmp_path, what):
    """In a process without the rights of root."""
    write(tmp_path / "images/cat/1.png", picture(1))
    write(tmp_path / "images/dog/1.png", picture(1))
    (tmp_path / "set").mkdir()
    np.savez(tmp_path / "set/images.npz", x=np.zeros((2, 6, 8, 3)))
    (tmp_path / "descriptor.toml").write_text('source = "set/images.npz"')
    script = """
import os, sys
from edgekit.data import open_samples
from edgekit.errors import DataError, ProfileError
from edgekit.interface import TensorSpec
if os.geteuid() == 0:
    os.seteuid(65534)
for spec in sys.argv[2:]:
    try:
        open_samples(os.path.join(sys.argv[1], spec), [TensorSpec("image", "float32", (1, 6, 8, 3))])
        print(spec, "opened")
    except (DataError, ProfileError) as error:
        print(spec, error)
"""
    refused = {
        "images": ["images"],
        "images/cat": ["images"],
        "set": ["set/images.npz", "descriptor.toml"],
        "set/images.npz": ["set/images.npz", "descriptor.toml"],
        "descriptor.toml": ["descriptor.toml"],
    }[what]
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001 and folder.owner() != "nobody":
            folder.chmod(folder.stat().st_mode | 0o011)
    path, mode = tmp_path / what, (tmp_path / what).stat().st_mode
    path.chmod(0)
    command = [sys.executable, "-c", script, str(tmp_path), *refused]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    path.chmod(mode)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == len(refused)
    assert all("Permission denied" in line and "cannot be read" in line for line in lines), lines


def test_channels_first_is_seen_from_the_inputs_shape(tmp_path):
    write(tmp_path / "a.png", picture(1))
    (sample,) = open_samples(tmp_path, [NCHW])
    np.testing.assert_array_equal(sample["image"][0], picture(1).transpose(2, 0, 1).astype(np.float32))


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4), ("1", 1), ("P", 3), ("CMYK", 3), ("LA", 1)]
)
def test_every_mode_becomes_what_the_model_has_channels_for(tmp_path, mode, channels):
    Image.fromarray(picture(3)).convert(mode).save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"))
    for wanted in (1, 3):
        (sample,) = open_samples(tmp_path, [TensorSpec("image", "uint8", (1, 6, 8, wanted))])
        expected = np.asarray(Image.open(next(tmp_path.iterdir())).convert("L" if wanted == 1 else "RGB"))
        difference = sample["image"][0].astype(int) - expected.reshape(6, 8, wanted)
        assert np.abs(difference).max() <= (0 if wanted == channels or mode in "L1LA" else 1)


def test_images_of_another_size_are_resized_to_the_models(tmp_path):
    write(tmp_path / "a.png", picture(1, 60, 50))
    (sample,) = open_samples(tmp_path, [NHWC])
    expected = Image.fromarray(picture(1, 60, 50)).resize((8, 6), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(sample["image"][0], np.asarray(expected, np.float32))


def test_torchvisions_preprocessing_can_be_said_in_a_descriptor(tmp_path):
    pixels = picture(5, 40, 30)
    write(tmp_path / "images/a.png", pixels)
    spec = describe(
        tmp_path / "d.toml",
        """
        source = "images"
        [preprocessing]
        resize = 16
        crop = [6, 8]
        scale = 0.00392156862745098
        mean = [0.485, 0.456, 0.406]
        std = [0.229, 0.224, 0.225]
        """,
    )
    (sample,) = open_samples(spec, [NCHW])
    resized = np.asarray(Image.fromarray(pixels).resize((16, 21), Image.Resampling.BILINEAR), np.float32) / 255
    top, left = round((21 - 6) / 2), round((16 - 8) / 2)
    cropped = resized[top : top + 6, left : left + 8]
    expected = ((cropped - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)
    np.testing.assert_allclose(sample["image"][0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('color = "bgr"', lambda x: x[:, :, ::-1]),
        ("mean = 127\nstd = 128", lambda x: (x - 127) / 128),
        ("scale = 0.5\noffset = -1", lambda x: x * 0.5 - 1),
        ("mean = [1, 2, 3]", lambda x: x - [1, 2, 3]),
        ('color = "bgr"\nmean = [1, 2, 3]', lambda x: x[:, :, ::-1] - [1, 2, 3]),
        ('layout = "nhwc"\nresize = [6, 8]\nresize_mode = "nearest"', lambda x: x),
    ],
)
def test_color_scaling_and_layout(tmp_path, text, expected):
    pixels = picture(2)
    write(tmp_path / "images/a.png", pixels)
    np.savez(tmp_path / "a.npz", x=pixels[None])
    for source in ("images", "a.npz"):
        spec = describe(tmp_path / "d.toml", f'source = "{source}"\n[preprocessing]\n{text}')
        (sample,) = open_samples(spec, [NHWC])
        np.testing.assert_allclose(sample["image"][0], expected(pixels.astype(np.float64)), atol=1e-4)


def test_float_arrays_are_scaled_but_never_resized(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.full((2, 6, 8, 3), 0.5))
    spec = describe(tmp_path / "d.toml", 'source = "a.npz"\n[preprocessing]\nmean = 0.25')
    assert next(iter(open_samples(spec, [NHWC])))["image"].max() == 0.25
    with pytest.raises(DataError, match="cannot be resized"):
        open_samples(spec, [TensorSpec("image", "float32", (1, 12, 16, 3))])


def test_gray_arrays_without_a_channel_axis(tmp_path):
    np.savez(tmp_path / "a.npz", x=picture(1, channels=1)[None])
    spec = describe(tmp_path / "d.toml", 'source = "a.npz"\n[preprocessing]\nscale = 2')
    (sample,) = open_samples(spec, [TensorSpec("image", "float32", (1, 6, 8, 1))])
    np.testing.assert_array_equal(sample["image"][0, :, :, 0], picture(1, channels=1) * 2.0)


def test_an_ambiguous_shape_asks_for_the_layout():
    spec = TensorSpec("image", "float32", (1, 3, 3, 3))
    with pytest.raises(DataError, match='layout = "nhwc" or "nchw"'):
        ImageTransform(Preprocessing(), spec)
    assert ImageTransform(Preprocessing(layout="nchw"), spec)(picture(0, 3, 3), "a").shape == (3, 3, 3)


@pytest.mark.parametrize(
    ("preprocessing", "message"),
    [
        (Preprocessing(crop=(99, 8)), "crop of 99x8 from 6x8"),
        (Preprocessing(resize=(7, 7)), r"gives shape \(7, 7, 3\); the model wants \(6, 8, 3\)"),
        (Preprocessing(color="gray"), "gives shape"),
    ],
)
def test_sizes_that_do_not_end_at_the_models_are_refused(preprocessing, message):
    if preprocessing.color:
        preprocessing = Preprocessing(color="gray", resize=(6, 8))
    with pytest.raises(DataError, match=f"a.png: .*{message}"):
        ImageTransform(preprocessing, NHWC)(picture(0), "a.png")


def test_numbers_per_channel_must_be_as_many_as_channels():
    with pytest.raises(DataError, match='"mean" has 2 numbers; input "image" has 3 channels'):
        ImageTransform(Preprocessing(mean=(1.0, 2.0)), NHWC)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.jpg", b"hello", "text.jpg: cannot be read as an image"),
        ("empty.png", b"", "empty.png: cannot be read as an image"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_samples(tmp_path, [NHWC])


def test_a_truncated_image_is_named(tmp_path):
    path = write(tmp_path / "a.jpg", picture(1, 200, 200))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"a\.jpg: cannot be read"):
        open_samples(tmp_path, [NHWC])


def test_sixteen_bit_images_are_refused(tmp_path):
    Image.fromarray(np.full((6, 8), 40_000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="more than 8 bits"):
        open_samples(tmp_path, [TensorSpec("image", "float32", (1, 6, 8, 1))])


def test_a_folder_without_images_and_a_mixed_one(tmp_path):
    with pytest.raises(DataError, match="has no images"):
        open_samples(tmp_path, [NHWC])
    write(tmp_path / "a.png", picture(1))
    write(tmp_path / "cat/a.png", picture(1))
    with pytest.raises(DataError, match="images beside sub-folders"):
        open_samples(tmp_path, [NHWC])


def test_images_are_for_models_with_one_image_input(tmp_path):
    write(tmp_path / "a.png", picture(1))
    with pytest.raises(DataError, match=r"has one array, but the model has 2 inputs \(image, b\)"):
        open_samples(tmp_path, [NHWC, TensorSpec("b", "float32", (1, 2))])
    with pytest.raises(DataError, match="no image input"):
        open_samples(tmp_path, [TensorSpec("b", "float32", (1, 2))])


def test_without_pillow_the_error_names_the_extra(tmp_path, monkeypatch):
    write(tmp_path / "a.png", picture(1))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DependencyError, match=r"pip install 'edgekit\[images\]'"):
        open_samples(tmp_path, [NHWC])


@pytest.mark.parametrize("form", ["json", "txt", "csv"])
def test_labels_from_a_file(tmp_path, form):
    for name in ("a.png", "b.png"):
        write(tmp_path / "images" / name, picture(1))
    entries = {"images/a.png": 7, "b.png": 3, "images/other.png": 1}
    labels = tmp_path / f"labels.{form}"
    if form == "json":
        labels.write_text(json.dumps(entries))
    else:
        labels.write_text(
            "\n".join(f"{image}{',' if form == 'csv' else ' '}{label}" for image, label in entries.items())
        )
    spec = describe(tmp_path / "d.toml", f'source = "images"\nlabels = "{labels.name}"')
    assert open_samples(spec, [NHWC]).labels.tolist() == [7, 3]
    write(tmp_path / "images/c.png", picture(1))
    with pytest.raises(DataError, match=r"labels\.\w+: has no label for .*c.png"):
        open_samples(spec, [NHWC])


@pytest.mark.parametrize(
    ("content", "message"),
    [('{"a.png": -1}', "label of"), ('{"a.png": 1.5}', "1.5"), ("[1]", "an object"), ("{", "not a label file")],
)
def test_bad_label_files_are_named(tmp_path, content, message):
    write(tmp_path / "images/a.png", picture(1))
    (tmp_path / "l.json").write_text(content)
    with pytest.raises(DataError, match=f"l.json: .*{message}"):
        open_samples(describe(tmp_path / "d.toml", 'source = "images"\nlabels = "l.json"'), [NHWC])


def test_the_descriptors_sha256_is_checked(tmp_path):
    np.savez(tmp_path / "a.npz", x=picture(1)[None])
    right = hashlib.sha256((tmp_path / "a.npz").read_bytes()).hexdigest()
    samples = open_samples(describe(tmp_path / "d.toml", f'source = "a.npz"\nsha256 = "{right}"'), [NHWC])
    assert len(samples) == 1
    assert len(samples.sha256) == 64 and samples.sha256 != right
    with pytest.raises(DataError, match=rf"a.npz: sha256 is {right}; .*d.toml expects {'0' * 64}"):
        open_samples(describe(tmp_path / "d.toml", f'source = "a.npz"\nsha256 = "{"0" * 64}"'), [NHWC])


def test_a_folders_digest_changes_with_contents_and_names(tmp_path):
    write(tmp_path / "a.png", picture(1))
    first = open_samples(tmp_path, [NHWC]).sha256
    write(tmp_path / "a.png", picture(2))
    second = open_samples(tmp_path, [NHWC]).sha256
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    assert len({first, second, open_samples(tmp_path, [NHWC]).sha256}) == 3


def test_only_the_chosen_images_are_decoded(tmp_path):
    for index in range(10):
        write(tmp_path / f"{index}.png", picture(index))
    (tmp_path / "1.png").write_bytes(b"broken")
    assert len(list(open_samples(tmp_path, [NHWC], limit=5))) == 5  # 0, 2, 4, 6, 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('source = "nowhere"', '"source" is .*nowhere: no such file'),
        ('source = "d.toml"', '"source" is .*d.toml; expected an .npz'),
        ('source = "a.npz"\nlabels = "l.json"', '"labels" is for folders'),
    ],
)
def test_descriptors_that_point_to_the_wrong_thing(tmp_path, text, message):
    np.savez(tmp_path / "a.npz", x=picture(1)[None])
    with pytest.raises(DataError, match=f"d.toml: {message}"):
        open_samples(describe(tmp_path / "d.toml", text), [NHWC])


def test_what_is_nothing_says_what_was_expected(tmp_path):
    (tmp_path / "data.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"data.csv: not a data set; expected an .npz"):
        open_samples(tmp_path / "data.csv", [NHWC])
    with pytest.raises(DataError, match=r"nowhere\.npz: no such file or folder; expected"):
        open_samples(tmp_path / "nowhere.npz", [NHWC])
    with pytest.raises(ProfileError, match=r"nowhere\.toml: no such file"):
        open_samples(tmp_path / "nowhere.toml", [NHWC])
