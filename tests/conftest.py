from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from tests import toy

# How long an example takes says nothing where other work is on the machine.
settings.register_profile("edgekit", deadline=None)
settings.load_profile("edgekit")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real models and labelled data that are too large for the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "models").is_dir():
        pytest.skip("the real models and data in ../shared are not here")
    return folder


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ONNX classifier with a dynamic batch."""
    return toy.save_classifier(tmp_path_factory.mktemp("toy") / "toy.onnx")


@pytest.fixture(scope="session")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unlabelled samples for the classifier."""
    path = tmp_path_factory.mktemp("toy") / "calibration.npz"
    np.savez(path, x=toy.images(48, seed=11)[0])
    return path


@pytest.fixture(scope="session")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled samples for the classifier."""
    path = tmp_path_factory.mktemp("toy") / "evaluation.npz"
    pixels, classes = toy.images(100, seed=12)
    np.savez(path, x=pixels, y=classes)
    return path
