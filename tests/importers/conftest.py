import functools
from pathlib import Path

import pytest

from tests.importers import onnx_files


@pytest.fixture
def save_model(tmp_path: Path) -> onnx_files.SaveModel:
    """Writes a model of nodes, inputs, outputs and initializers to a temporary ``model.onnx``."""
    return functools.partial(onnx_files.save_model, tmp_path / "model.onnx")
