"""Descriptors of calibration data."""

import pytest

from edgekit.errors import ProfileError
from edgekit.profiles.calibration import load_calibration_set


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'missing key "source"'),
        ('source = "a.npz"\nsha256 = "abc"', "expected 64 hexadecimal digits"),
        ('source = "a.npz"\n[preprocesing]\nmean = 1', 'unknown key "preprocesing"; did you mean "preprocessing"?'),
        ('source = "a.npz"\n[preprocessing]\nmaen = 1', 'unknown key "maen" in [preprocessing]; did you mean "mean"?'),
        ('source = "a.npz"\n[preprocessing]\nstd = [1, 0, 1]', "expected numbers other than 0"),
        ('source = "a.npz"\n[preprocessing]\nmean = []', "a number or a list of numbers"),
        ('source = "a.npz"\n[preprocessing]\nmean = "1"', "a number or a list of numbers"),
        (
            'source = "a.npz"\n[preprocessing]\nresize = [1, 2, 3]',
            "expected [height, width] in pixels or the shorter side",
        ),
        ('source = "a.npz"\n[preprocessing]\nresize = 0', "expected [height, width] in pixels"),
        ('source = "a.npz"\n[preprocessing]\ncrop = 1.5', "expected [height, width] in pixels"),
        ('source = "a.npz"\n[preprocessing]\ncolor = "rbg"', 'did you mean "rgb"?'),
        ('source = "a.npz"\n[preprocessing]\nlayout = "hwc"', 'did you mean "nhwc"?'),
        ('source = "a.npz"\n[preprocessing]\nresize_mode = "cubic"', 'did you mean "bicubic"?'),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    path = tmp_path / "d.toml"
    path.write_text(text)
    with pytest.raises(ProfileError) as caught:
        load_calibration_set(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_everything_that_can_be_said(tmp_path):
    path = tmp_path / "d.toml"
    path.write_text(
        f"""
        description = "images"
        license = "MIT"
        source = "images"
        sha256 = "{"A" * 64}"
        labels = "labels.json"
        [preprocessing]
        resize = 256
        resize_mode = "area"
        crop = 224
        color = "bgr"
        scale = 2
        offset = 1
        mean = [1, 2, 3]
        std = 4.5
        layout = "nchw"
        """
    )
    found = load_calibration_set(str(path))
    assert (found.source, found.labels) == (tmp_path / "images", tmp_path / "labels.json")
    assert (found.description, found.license, found.sha256) == ("images", "MIT", "a" * 64)
    preprocessing = found.preprocessing
    assert (preprocessing.resize, preprocessing.resize_mode, preprocessing.crop) == ((256,), "area", (224, 224))
    assert (preprocessing.scale, preprocessing.offset) == ((2.0,), (1.0,))
    assert (preprocessing.mean, preprocessing.std) == ((1.0, 2.0, 3.0), (4.5,))
    assert (preprocessing.color, preprocessing.layout) == ("bgr", "nchw")
