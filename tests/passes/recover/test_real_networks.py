"""Networks that people use: the same numbers as in onnxruntime, and what recovery is worth."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgekit.graph.cost import count_macs
from edgekit.importers import import_model
from edgekit.passes.canonicalize import canonicalize
from edgekit.passes.prune.groups import find_channel_groups
from edgekit.passes.prune.removal import remove
from edgekit.passes.recover import RecoverySettings, recover
from tests.passes.recover.running import check, outputs

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.slow


def load(path: Path) -> ir.Model:
    return canonicalize(import_model(path).model)


@pytest.mark.parametrize("name", ["efficientnet_lite1.onnx", "resnet8_cifar10.h5", "kws_float.tflite"])
def test_real_models_give_the_same_numbers(shared: Path, name: str) -> None:
    check(ir.to_proto(load(shared / "models" / name)), 1e-4)


@dataclass
class Demo:
    model: ir.Model
    unlabelled: list[dict[str, np.ndarray]]
    pixels: np.ndarray
    classes: np.ndarray

    def top1(self, model: ir.Model) -> float:
        found = outputs(model, [{"image": image[None]} for image in self.pixels])
        return float(100 * (found.argmax(1) == self.classes).mean())


@pytest.fixture(scope="module")
def demo() -> Demo:
    with np.load(ROOT / "calibration/fashion_mnist_calibration.npz") as data:
        unlabelled = [{"image": image[None].astype(np.float32)} for image in data["x"].reshape(-1, 28, 28, 1)]
    with np.load(ROOT / "calibration/fashion_mnist_eval.npz") as data:
        pixels, classes = data["x"].reshape(-1, 28, 28, 1).astype(np.float32), data["y"]
    return Demo(load(ROOT / "examples/fashion_mnist.keras"), unlabelled, pixels, classes)


def test_the_demo_gives_the_same_numbers(demo: Demo) -> None:
    check(ir.to_proto(demo.model), 1e-4)


def test_a_blindly_pruned_demo_gets_most_of_its_accuracy_back(demo: Demo) -> None:
    channels = find_channel_groups(demo.model)
    removed = np.zeros(channels.unit_count, np.bool_)
    for group in channels.groups:
        removed[list(group.units[: len(group.units) // 4 // 8 * 8])] = True
    student = remove(demo.model, channels, removed)
    assert count_macs(student) < 0.8 * count_macs(demo.model)
    settings = RecoverySettings(steps=300, learning_rates=(1e-2,), batch_size=32)
    recovered = recover(student, demo.model, demo.unlabelled, settings)
    source, before, after = (demo.top1(model) for model in (demo.model, student, recovered.model))
    assert count_macs(recovered.model) == count_macs(student)
    assert source - before > 20
    assert source - after < 0.5 * (source - before)
