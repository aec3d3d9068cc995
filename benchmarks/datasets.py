"""The data of ../shared as the models want it, written as .npz files that both edgekit and its peers read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekit.data import open_samples
from edgekit.interface import TensorSpec

IMAGENET_INPUT = TensorSpec("images", "float32", (1, 3, 240, 240))


@dataclass(frozen=True)
class Workload:
    """A model, its calibration samples and its labelled evaluation samples."""

    name: str
    model: Path
    calibration: Path
    evaluation: Path


def resnet8(shared: Path, folder: Path) -> Workload:
    """CIFAR-10: 1,024 unlabelled calibration images, 846 labelled ones."""
    with np.load(shared / "data/cifar10_subset.npz") as data:
        np.savez(folder / "cifar_calibration.npz", x=data["x_calib"])
        np.savez(folder / "cifar_eval.npz", x=data["x_test"], y=data["y_test"])
    model = shared / "models/resnet8_cifar10.h5"
    return Workload("ResNet-8", model, folder / "cifar_calibration.npz", folder / "cifar_eval.npz")


def keyword_spotting(shared: Path, folder: Path, model: str) -> Workload:
    """1,000 labelled clips; every eighth of them, without its label, is for calibration."""
    with np.load(shared / "data/kws1000.npz") as data:
        np.savez(folder / "kws_calibration.npz", x=data["x"][::8])
        np.savez(folder / "kws_eval.npz", x=data["x"], y=data["y"])
    name = f"KWS ({model})"
    return Workload(name, shared / "models" / model, folder / "kws_calibration.npz", folder / "kws_eval.npz")


def efficientnet_lite1(shared: Path, folder: Path) -> Workload:
    """ImageNet: 63 unlabelled calibration images, 187 labelled ones, (rgb - 127) / 128."""
    calibration, evaluation = folder / "imagenet_calibration.npz", folder / "imagenet_eval.npz"
    np.savez(calibration, x=np.concatenate(list(_imagenet(shared, folder, "calibration"))))
    labels = open_samples(_descriptor(shared, folder, "eval"), [IMAGENET_INPUT]).labels
    np.savez(evaluation, x=np.concatenate(list(_imagenet(shared, folder, "eval"))), y=labels)
    return Workload("EfficientNet-Lite1", shared / "models/efficientnet_lite1.onnx", calibration, evaluation)


def fashion_mnist(shared: Path, folder: Path) -> Workload:
    """The demo model: 10,000 of the images it was trained on, without labels, and 9,744 labelled ones it never saw.

    The split is that of examples/train_fashion_mnist.py.
    """
    with np.load(shared / "data/fashion_mnist.npz") as data:
        order = np.random.default_rng(7).permutation(len(data["x"]))
        x, y = data["x"][order].reshape(-1, 28, 28, 1).astype(np.float32), data["y"][order].astype(np.int64)
    unseen = np.r_[0:1_000, 1_256:10_000]
    np.savez(folder / "fashion_unlabelled.npz", x=x[10_000:20_000])
    np.savez(folder / "fashion_eval.npz", x=x[unseen], y=y[unseen])
    model = Path(__file__).resolve().parent.parent / "examples/fashion_mnist.keras"
    return Workload("Fashion-MNIST demo", model, folder / "fashion_unlabelled.npz", folder / "fashion_eval.npz")


def repeated(calibration: Path, times: int) -> Path:
    """The same samples several times over, in a file beside it."""
    path = calibration.with_name(f"{calibration.stem}_x{times}.npz")
    with np.load(calibration) as data:
        np.savez(path, x=np.concatenate([data["x"]] * times))
    return path


def _imagenet(shared: Path, folder: Path, part: str) -> Iterator[NDArray[np.float32]]:
    for sample in open_samples(_descriptor(shared, folder, part), [IMAGENET_INPUT]):
        yield sample[IMAGENET_INPUT.name]


def _descriptor(shared: Path, folder: Path, part: str) -> Path:
    data = shared.resolve() / "data/imagenet_dev"
    path = folder / f"imagenet_{part}.toml"
    text = f'source = "{data / part}"\nlabels = "{data / "labels.json"}"\n[preprocessing]\nmean = 127\nstd = 128\n'
    path.write_text(text)
    return path
