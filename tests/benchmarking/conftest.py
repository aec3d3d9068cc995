from pathlib import Path

import pytest

import edgekit


@pytest.fixture(scope="session")
def toy_export(tmp_path_factory: pytest.TempPathFactory, classifier: Path, calibration: Path) -> Path:
    """The toy classifier exported as int8 for this kind of machine, in every format."""
    out = tmp_path_factory.mktemp("export") / "dist"
    edgekit.export(classifier, ["x86-64"], calibration=calibration, out=out, max_drop=100)
    return out
