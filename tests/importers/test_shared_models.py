"""Real models nobody here made score what their own runtime scores when imported."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from edgekit.importers import import_model
from tests.importers.onnx_files import dynamic_values


def _top1(model: ir.Model, samples: np.ndarray, labels: np.ndarray) -> float:
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    predicted = [int(session.run(None, {name: sample[None].astype(np.float32)})[0].argmax()) for sample in samples]
    return float(np.mean(predicted == labels)) * 100


def _cifar(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    data = np.load(folder / "data" / "cifar10_subset.npz")
    return data["x_test"], data["y_test"]


def _keywords(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    data = np.load(folder / "data" / "kws1000.npz")
    return data["x"], data["y"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "data", "interface", "top1"),
    [
        ("resnet8_cifar10.h5", _cifar, ("input_1", (1, 32, 32, 3), "dense"), 87.71),
        ("resnet8_cifar10_float.tflite", _cifar, ("input_1", (1, 32, 32, 3), "Identity"), 87.71),
        (
            "kws_saved_model",
            _keywords,
            ("input_1", (1, 49, 10, 1), "dense"),
            91.3,
        ),  # what a TensorFlow 1 session scores
        ("kws_float.tflite", _keywords, ("input_1", (1, 49, 10, 1), "Identity"), 90.0),
    ],
)
def test_accuracy_survives_the_import(
    name: str,
    data: Callable[[Path], tuple[np.ndarray, np.ndarray]],
    interface: tuple[str, tuple[int, ...], str],
    top1: float,
    shared: Path,
) -> None:
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed")
    imported = import_model(shared / "models" / name)
    assert (imported.inputs[0].name, imported.inputs[0].shape, imported.outputs[0].name) == interface
    assert _top1(imported.model, *data(shared)) == pytest.approx(top1, abs=0.15)


def test_efficientnet_is_static_and_keeps_its_names(shared: Path) -> None:
    imported = import_model(shared / "models" / "efficientnet_lite1.onnx")
    assert [(spec.name, spec.shape) for spec in imported.inputs] == [("input", (1, 3, 240, 240))]
    assert [(spec.name, spec.shape) for spec in imported.outputs] == [("logits", (1, 1000))]
    assert dynamic_values(imported.model) == []
