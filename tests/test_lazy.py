"""Public names that are imported when they are first used."""

import importlib
import subprocess
import sys

import pytest

import edgekit


@pytest.mark.parametrize(
    "package", ["edgekit", "edgekit.passes.prune", "edgekit.passes.quantize", "edgekit.passes.recover"]
)
def test_every_public_name_is_there_and_no_other(package: str) -> None:
    module = importlib.import_module(package)
    assert all(getattr(module, name) is not None for name in module.__all__)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = module.nothing


def test_importing_a_package_loads_nothing_heavy() -> None:
    script = "import sys, edgekit, edgekit.passes.prune; print(sorted({'numpy', 'onnx_ir'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
    assert set(edgekit.__all__) == set(dir(edgekit))
