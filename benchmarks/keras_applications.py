"""Float TFLite files of keras.applications: relative error against Keras, number of ops against TFLiteConverter.

    python benchmarks/keras_applications.py [--models MobileNetV2 ...]

Weights are random, BatchNorm statistics too, so that a wrongly folded one shows.
"""

import argparse
import tempfile
from pathlib import Path

import keras
import measurement
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import Model
from numpy.typing import NDArray

import edgekit

MODELS = ["MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "ResNet50"]
TARGET = 'description = "TFLite only"\nextends = "x86-64"\nformats = ["tflite"]\nprecision = "fp32"\n'


def main() -> None:
    """One row per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    rows = [_row(name) for name in parser.parse_args().models]
    columns = [
        "model",
        "max error / max output",
        "bytes",
        "bytes, TFLiteConverter",
        "ops",
        "ops, TFLiteConverter",
        "ratio",
    ]
    measurement.print_table("keras.applications, weights=None, to float TFLite", columns, rows)


def _row(name: str) -> list[object]:
    model = build(name)
    images = np.random.default_rng(1).uniform(0, 255, (4, *model.input_shape[1:])).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "tflite.toml")
        target.write_text(TARGET)
        model.save(Path(folder, f"{name}.keras"))
        edgekit.export(Path(folder, f"{name}.keras"), [str(target)], out=Path(folder, "dist"))
        content = Path(folder, "dist/tflite", f"{name}.tflite").read_bytes()
    peer = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    expected = model.predict(images, verbose=0)
    error = np.abs(run(content, images) - expected).max() / np.abs(expected).max()
    ops, peer_ops = count_ops(content), count_ops(peer)
    return [name, f"{error:.1e}", len(content), len(peer), ops, peer_ops, f"{ops / peer_ops:.3f}"]


def build(name: str) -> keras.Model:
    """The model up to its logits, which hide no error, with seeded random weights and BatchNorm statistics."""
    keras.utils.set_random_seed(3)
    model = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3), classifier_activation=None)
    random = np.random.default_rng(3)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = (each.shape for each in layer.get_weights())
            layer.set_weights(
                [
                    random.uniform(0.5, 1.5, gamma),
                    random.normal(0, 0.2, beta),
                    random.normal(0, 0.2, mean),
                    random.uniform(0.5, 1.5, variance),
                ]
            )
    return model


def run(content: bytes, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """All images, one at a time, through LiteRT."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for image in images:
        interpreter.set_tensor(given["index"], image[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(made["index"]))
    return np.concatenate(outputs)


def count_ops(content: bytes) -> int:
    """Operators in the file's main graph."""
    return int(Model.GetRootAsModel(content, 0).Subgraphs(0).OperatorsLength())


if __name__ == "__main__":
    main()
