"""Train the demo model of this folder: a small depthwise-separable network on Fashion-MNIST.

    python examples/train_fashion_mnist.py                        # downloads the data through keras.datasets
    python examples/train_fashion_mnist.py --data fashion_mnist.npz   # arrays x (N, 28, 28) uint8 and y (N,)

Needs ``pip install 'edgekit[tensorflow]'``. Writes ``examples/fashion_mnist.keras`` and the two data sets
``calibration/fashion_mnist_calibration.npz`` and ``calibration/fashion_mnist_eval.npz``; the last lines that it prints
are the sha256 sums that belong into ``calibration/*.toml``. Fashion-MNIST: Xiao et al. 2017,
https://github.com/zalandoresearch/fashion-mnist, MIT licence.
"""

import argparse
import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
SEED = 7
EVALUATION, CALIBRATION, HELD_BACK = 1_000, 256, 8_744
BATCH = 128

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Part:
    """Images (N, 28, 28, 1) of 0..255 and their classes (N,)."""

    x: Images
    y: NDArray[np.int64]


def load(path: Path | None) -> Part:
    """All 70,000 images in a seeded random order."""
    if path is None:
        (x_train, y_train), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
        x, y = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
    else:
        with np.load(path) as file:
            x, y = file["x"], file["y"]
    order = np.random.default_rng(SEED).permutation(len(x))
    return Part(x[order].reshape(-1, 28, 28, 1), y[order].astype(np.int64))


def split(data: Part) -> tuple[Part, Part, Part, Part]:
    """Evaluation, calibration, held-back and training images: no image is in two of them."""
    ends = np.cumsum([EVALUATION, CALIBRATION, HELD_BACK])
    x, y = np.split(data.x, ends), np.split(data.y, ends)
    evaluation, calibration, held_back, training = (Part(*part) for part in zip(x, y, strict=True))
    return evaluation, calibration, held_back, training


def separable(x: keras.KerasTensor, channels: int, stride: int, name: str) -> keras.KerasTensor:
    """Depthwise 3x3, pointwise 1x1, BatchNorm after both; a residual add where the shapes allow one."""
    y = layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=f"{name}_depthwise")(x)
    y = layers.BatchNormalization(name=f"{name}_depthwise_norm")(y)
    y = layers.ReLU(6.0, name=f"{name}_depthwise_relu6")(y)
    y = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_pointwise")(y)
    y = layers.BatchNormalization(name=f"{name}_pointwise_norm")(y)
    if stride == 1 and x.shape[-1] == channels:
        y = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(6.0, name=f"{name}_relu6")(y)


def build() -> keras.Model:
    """Raw pixels 0..255 in (the scaling is a layer), ten logits out."""
    image = keras.Input((28, 28, 1), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(image)
    x = layers.Conv2D(32, 3, 2, "same", use_bias=False, name="stem")(x)
    x = layers.BatchNormalization(name="stem_norm")(x)
    x = layers.ReLU(6.0, name="stem_relu6")(x)
    for index, (channels, stride) in enumerate([(48, 1), (48, 1), (96, 2), (96, 1), (96, 1), (160, 2), (160, 1)]):
        x = separable(x, channels, stride, f"block{index}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.1, name="dropout")(x)
    return keras.Model(image, layers.Dense(10, name="logits")(x), name="fashion_mnist")


def augmented(training: Part, epochs: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Endless shuffled batches, mirrored at random and shifted by up to two pixels."""
    random = np.random.default_rng(SEED)
    padded = np.pad(training.x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (28, 28), axis=(1, 2))
    for _ in range(epochs):
        order = random.permutation(len(training.x))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            shift = random.integers(0, 5, (2, BATCH))
            x = windows[rows, shift[0], shift[1]].transpose(0, 2, 3, 1).astype(np.float32)
            mirrored = random.random(BATCH) < 0.5
            x[mirrored] = x[mirrored, :, ::-1]
            yield x, training.y[rows]


def train(model: keras.Model, training: Part, check: Part, epochs: int) -> None:
    """Adam with decoupled weight decay, one warm-up epoch, a cosine to zero, averaged weights."""
    steps = len(training.x) // BATCH
    rate = keras.optimizers.schedules.CosineDecay(
        1e-4, steps * (epochs - 1), warmup_target=4e-3, warmup_steps=steps, alpha=1e-3
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=5e-3, use_ema=True, ema_momentum=0.998)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    model.fit(
        augmented(training, epochs),
        steps_per_epoch=steps,
        epochs=epochs,
        validation_data=(check.x.astype(np.float32), check.y),
        validation_freq=2,
        verbose=2,
    )


def top1(model: keras.Model, part: Part) -> float:
    """Percent."""
    logits = model.predict(part.x.astype(np.float32), batch_size=256, verbose=0)
    return 100.0 * float(np.mean(logits.argmax(axis=1) == part.y))


def save_model(path: Path, model: keras.Model) -> None:
    """Without the optimizer's state, and deflated, which Keras reads but does not write."""
    keras.Model(model.inputs, model.outputs, name=model.name).save(path)
    with zipfile.ZipFile(path) as stored:
        members = {member: stored.read(member) for member in stored.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as deflated:
        for member, content in members.items():
            deflated.writestr(zipfile.ZipInfo(member), content, zipfile.ZIP_DEFLATED)


def save_data(path: Path, part: Part) -> None:
    """Write ``x`` and ``y``; the same arrays give the same bytes."""
    np.savez_compressed(path, x=part.x, y=part.y.astype(np.uint8))
    print(f'{path.name}: sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"')


def main() -> None:
    """Train, measure on images that were held back, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="npz with x and y; downloaded when not given")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--threads", type=int, default=1, help="one gives the same model every time")
    parser.add_argument("--out", type=Path, default=ROOT, help="folder that has examples/ and calibration/")
    arguments = parser.parse_args()

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()

    evaluation, calibration, held_back, training = split(load(arguments.data))
    model = build()
    model.summary(line_length=100)
    train(model, training, Part(held_back.x[:2000], held_back.y[:2000]), arguments.epochs)
    print(f"top-1: {top1(model, held_back):.2f} % of {HELD_BACK} held back, {top1(model, evaluation):.1f} % of eval")

    model_path = arguments.out / "examples" / "fashion_mnist.keras"
    save_model(model_path, model)
    print(f"{model_path.name}: {model_path.stat().st_size} bytes, {model.count_params()} parameters")
    save_data(arguments.out / "calibration" / "fashion_mnist_calibration.npz", calibration)
    save_data(arguments.out / "calibration" / "fashion_mnist_eval.npz", evaluation)


if __name__ == "__main__":
    main()
