"""Writes the Keras, SavedModel and TFLite files of the tests: ``python keras_files.py FOLDER``."""

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf
from keras import layers


def sequential() -> keras.Model:
    """Preprocessing, training-only layers, and a depthwise block, in a Sequential."""
    normalization = layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.1, 0.2, 0.3])
    return keras.Sequential(
        [
            keras.Input((12, 12, 3), name="image"),
            layers.RandomFlip(),
            layers.Rescaling(2.0, offset=-1),
            normalization,
            layers.GaussianNoise(0.1),
            layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.DepthwiseConv2D(3, padding="same"),
            layers.Dropout(0.5),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, activation="softmax", name="probabilities"),
        ]
    )


def functional() -> keras.Model:
    """Two inputs, three outputs (two of one shared layer), a nested model, a grouped convolution, GELU, padding."""
    left, right = keras.Input((8, 8, 4), name="left"), keras.Input((8, 8, 4), name="right")
    inner_in = keras.Input((8, 8, 4))
    inner_out = layers.Activation("gelu")(layers.Conv2D(4, 3, groups=2)(inner_in))
    # Zeros in front of a maximum of negative numbers, which onnxruntime's optimizations take for minus infinity.
    inner_out = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(layers.Rescaling(1.0, offset=-2.0)(inner_out)))
    inner = keras.Model(inner_in, inner_out, name="inner")
    shared = layers.Dense(3, name="head")
    pool = layers.GlobalAveragePooling2D()
    a, b = pool(inner(left)), pool(inner(right))
    return keras.Model([left, right], [shared(a), shared(b), layers.Add(name="sum")([a, b])])


def operations() -> keras.Model:
    """Functions of ``keras.ops``, names that are no TensorFlow scopes, and what tf2onnx lacks."""
    x = keras.Input((8, 8, 3), name="my image")
    y = layers.Conv2D(4, 3, name="first (of 1): conv")(x)
    y = keras.ops.maximum(y + 1.5, 0.5) * keras.ops.expm1(keras.ops.minimum(y, 0.0))
    return keras.Model(x, [layers.Activation("celu", name="a or b")(y), keras.ops.argmax(y, axis=-1)])


def recurrent() -> keras.Model:
    """Recurrent layers, which TensorFlow runs as loops."""
    x = keras.Input((5, 4), name="x")
    y = layers.Bidirectional(layers.GRU(3, return_sequences=True))(x)
    return keras.Model(x, layers.LSTM(3, name="state")(y))


def sequences() -> keras.Model:
    """Convolutions and attention over time, of which tf2onnx makes many constants and nodes of its own naming."""
    x = keras.Input((16, 2), name="x")
    y = layers.ReLU()(layers.BatchNormalization()(layers.Conv1D(4, 3, padding="same")(x)))
    y = layers.MultiHeadAttention(2, 2)(y, y)
    y = layers.ReLU()(layers.BatchNormalization()(layers.Conv1D(6, 3, padding="causal")(y)))
    return keras.Model(x, layers.Dense(3, name="y")(layers.GlobalMaxPooling1D()(y)))


def channels_first() -> keras.Model:
    """A layout that TensorFlow cannot run on a CPU."""
    keras.config.set_image_data_format("channels_first")
    x = keras.Input((3, 8, 8), name="x")
    y = layers.BatchNormalization(axis=1)(layers.Conv2D(4, 3, activation="relu")(x))
    model = keras.Model(x, layers.GlobalAveragePooling2D(name="y")(layers.MaxPooling2D()(y)))
    keras.config.set_image_data_format("channels_last")
    return model


@keras.saving.register_keras_serializable("tests")
class Doubled(layers.Layer):
    """A custom layer."""

    def call(self, inputs: object) -> object:
        return inputs * 2


class Subclassed(keras.Model):
    """A model that only its own code can rebuild."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, inputs: object) -> object:
        return self.dense(inputs)


def rewrite_config(path: Path, target: Path, change: object) -> None:
    """Copy a .keras archive with its configuration changed."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            data = source.read(name)
            copy.writestr(name, change(data.decode()).encode() if name == "config.json" else data)


def like_keras_2(path: Path) -> None:
    """Give an .h5 file what Keras 2 wrote: ``groups`` of a depthwise convolution, listed axes, old input shapes."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            inner = layer["config"]
            if layer["class_name"] == "DepthwiseConv2D":
                inner["groups"] = 1
            if layer["class_name"] == "BatchNormalization":
                inner["axis"] = [inner["axis"]]
            if layer["class_name"] == "InputLayer":
                inner["batch_input_shape"] = inner.pop("batch_shape")
            if isinstance(inner.get("dtype"), dict):
                inner["dtype"] = "float32"
        file.attrs["model_config"] = json.dumps(config)


def harmful(folder: Path) -> None:
    """SavedModels that would write ``harm`` into their own folder, or read from it, while they are imported."""
    spec = tf.TensorSpec([None, 5], tf.float32, "features")

    def prints(features: tf.Tensor, path: str) -> None:
        tf.print(features, output_stream=f"file://{path}")

    def saves(features: tf.Tensor, path: str) -> None:
        tf.raw_ops.SaveV2(prefix=path, tensor_names=["x"], shape_and_slices=[""], tensors=[features])

    def caches(features: tf.Tensor, path: str) -> None:
        for each in tf.data.Dataset.from_tensors(features).cache(path):
            tf.debugging.assert_all_finite(each, "finite")

    def debugs(features: tf.Tensor, path: str) -> None:
        tf.raw_ops.DebugIdentity(input=features, debug_urls=[f"file://{path}"])

    def restores(features: tf.Tensor, path: str) -> None:
        tf.raw_ops.RestoreV2(prefix=path, tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32])

    for harm in (prints, saves, caches, debugs, restores):
        signature = serving(harm, str(folder / harm.__name__ / "harm")).get_concrete_function(spec)
        tf.saved_model.save(tf.Module(), folder / harm.__name__, signatures={"serving_default": signature})
    initializing(folder / "initializes")


def serving(harm: Callable[[tf.Tensor, str], None], path: str) -> Any:
    @tf.function
    def serve(features: tf.Tensor) -> dict[str, tf.Tensor]:
        harm(features, path)
        return {"scores": features * 2.0}

    return serve


def initializing(folder: Path) -> None:
    """TensorFlow 1's way: an operator that runs when the graph is loaded."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 5], "x")
        weight = v1.get_variable("weight", [5, 2])
        y = tf.matmul(x, weight, name="y")
        main_op = tf.raw_ops.Save(filename=str(folder / "harm"), tensor_names=["x"], data=[tf.constant([1.0])])
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, main_op=main_op)
        builder.save()


def main(folder: Path) -> None:
    keras.utils.set_random_seed(0)
    model = sequential()
    model.save(folder / "sequential.keras")
    model.save(folder / "keras2.h5")
    like_keras_2(folder / "keras2.h5")
    model.save_weights(folder / "only.weights.h5")
    model.export(folder / "exported", verbose=False)
    for build in (functional, operations, recurrent, sequences, channels_first):
        build().save(folder / f"{build.__name__}.keras")

    x = keras.Input((4,), name="x")
    keras.Model(x, layers.Lambda(lambda t: t * 2)(x)).save(folder / "lambda.keras")
    keras.Model(x, layers.Lambda(lambda t: t * 2)(x)).save(folder / "lambda.h5")
    keras.Model(x, Doubled(name="twice")(x)).save(folder / "custom.keras")
    image = keras.Input((None, None, 3), name="image")
    keras.Model(image, layers.Conv2D(2, 3, name="map")(image)).save(folder / "open.keras")

    keras.config.set_dtype_policy("mixed_float16")
    half = keras.Input((8,), name="x")
    keras.Model(half, layers.Dense(3, name="y")(layers.Dense(16, activation="relu")(half))).save(folder / "half.keras")
    keras.config.set_dtype_policy("float32")

    subclassed = Subclassed()
    subclassed(np.zeros((1, 5), np.float32))
    subclassed.export(folder / "subclassed", verbose=False)

    module = tf.Module()
    module.weight = tf.Variable(np.ones((5, 2), np.float32))
    spec = tf.TensorSpec([None, 5], tf.float32, "features")

    @tf.function(input_signature=[spec])
    def scores(features: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": features @ module.weight, "best": tf.argmax(features @ module.weight, -1)}

    @tf.function(input_signature=[spec])
    def writes(features: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.io.write_file("/tmp/edgekit_must_not_exist", "x")
        return {"scores": features}

    tf.saved_model.save(module, folder / "named", signatures={"score": scores})
    tf.saved_model.save(module, folder / "several", signatures={"a": scores, "b": scores})
    tf.saved_model.save(module, folder / "unsigned")
    tf.saved_model.save(module, folder / "writes", signatures={"serving_default": writes})
    harmful(folder)

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (folder / "float.tflite").write_bytes(converter.convert())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    (folder / "half.tflite").write_bytes(converter.convert())
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([np.random.rand(1, 12, 12, 3).astype(np.float32)] for _ in range(4))
    (folder / "quantized.tflite").write_bytes(converter.convert())
    sparse_files(model, folder)


def sparse_files(model: keras.Model, folder: Path) -> None:
    """``sparse.tflite`` and ``sparse_half.tflite``: mostly zeros in blocks, stored without them."""
    for layer in model.layers:
        for weight in layer.weights:
            values = weight.numpy()
            kept = np.random.default_rng(0).random(values.size // values.shape[-1]) > 0.9
            if values.ndim > 1:
                weight.assign(values * kept.reshape(*values.shape[:-1], 1))
    for name, types in (("sparse", []), ("sparse_half", [tf.float16])):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY, tf.lite.Optimize.DEFAULT][: 1 + len(types)]
        converter.target_spec.supported_types = types
        (folder / f"{name}.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
