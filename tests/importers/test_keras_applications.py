"""Small variants of well-known Keras networks; the conversion checks itself against Keras, the test its quality."""

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

PROGRAM = """
import json, sys
from pathlib import Path
import keras
from edgekit.importers.tensorflow_worker.keras_model import convert_loaded
for name, settings in json.loads(sys.argv[2]).items():
    keras.backend.clear_session()
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=10, **settings)
    convert_loaded(model, {}, Path(sys.argv[1]) / f"{name}.onnx")
"""
NETWORKS = {"MobileNet": {"alpha": 0.25}, "MobileNetV2": {"alpha": 0.35}, "MobileNetV3Small": {}, "EfficientNetB0": {}}
MOST_TRANSPOSES = {"MobileNet": 2, "MobileNetV2": 2, "MobileNetV3Small": 2, "EfficientNetB0": 18}
"""EfficientNet's squeeze-and-excitation reshapes stop tf2onnx; canonicalization takes those away."""


@pytest.mark.slow
def test_applications_convert_without_transposes_between_convolutions(tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed")
    command = [sys.executable, "-c", PROGRAM, tmp_path, json.dumps(NETWORKS)]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-2000:]
    for name, most in MOST_TRANSPOSES.items():
        operators = [node.op_type for node in onnx.load(tmp_path / f"{name}.onnx").graph.node]
        assert operators.count("Transpose") <= most, name
