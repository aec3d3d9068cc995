"""The demo that ships: its size, its data, and the accuracy that the README claims."""

import hashlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edgekit.data import open_samples
from edgekit.interface import TensorSpec

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "examples" / "fashion_mnist.keras"
IMAGE = TensorSpec("image", "float32", (1, 28, 28, 1))


def test_the_model_is_small():
    assert 100_000 < MODEL.stat().st_size <= 500_000


@pytest.mark.parametrize(("name", "count"), [("fashion_mnist_calibration", 256), ("fashion_mnist_eval", 1000)])
def test_the_data_is_found_by_name_and_checked(name, count, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    samples = open_samples(name, [IMAGE], classes=10)
    assert len(samples) == count
    assert set(samples.labels) == set(range(10))
    images = np.concatenate([sample["image"] for sample in samples])
    assert images.shape == (count, 28, 28, 1)
    assert (images.min(), images.max()) == (0, 255)


def test_no_image_is_in_both_sets():
    digests = [
        {hashlib.sha256(sample["image"].tobytes()).digest() for sample in open_samples(name, [IMAGE])}
        for name in ("fashion_mnist_calibration", "fashion_mnist_eval")
    ]
    assert not digests[0] & digests[1]


_TOP1 = """
import sys
import keras, numpy as np
model = keras.models.load_model(sys.argv[1])
data = np.load(sys.argv[2])
logits = model.predict(data["x"].astype(np.float32), batch_size=250, verbose=0)
names = [each.name for each in model.inputs]
print("top1", (logits.argmax(axis=1) == data["y"]).mean(), names, hasattr(model, "optimizer"))
"""


@pytest.mark.slow
def test_the_float_model_is_as_good_as_the_readme_says():
    if find_spec("keras") is None:
        pytest.skip("needs TensorFlow: pip install 'edgekit[tensorflow]'")
    data = ROOT / "calibration" / "fashion_mnist_eval.npz"
    run = subprocess.run(
        [sys.executable, "-c", _TOP1, MODEL, data],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    _, top1, *rest = run.stdout[run.stdout.index("top1") :].split(maxsplit=2)
    assert float(top1) >= 0.91
    assert rest == ["['image'] False\n"]
