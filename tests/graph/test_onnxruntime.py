"""The door to onnxruntime: nobody goes around it, and nothing of onnxruntime's telemetry is left behind."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit.graph.onnxruntime import load_onnxruntime
from tests import toy

_PACKAGE = Path(edgekit.__path__[0])


def test_every_import_goes_through_the_door() -> None:
    around = [
        path.relative_to(_PACKAGE).as_posix()
        for path in _PACKAGE.rglob("*.py")
        if re.search(r"^\s*(import|from) onnxruntime\b", path.read_text(), re.MULTILINE)
    ]
    # What is sent to a board stands alone: it has no door to go through, and closes it itself.
    assert sorted(around) == ["benchmarking/runner/runner.py", "graph/onnxruntime.py"]
    alone = (_PACKAGE / "benchmarking/runner/runner.py").read_text()
    assert alone.index('os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")') < alone.index("import onnxruntime")


def test_the_users_own_setting_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    load_onnxruntime()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    load_onnxruntime()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_an_export_leaves_nothing_in_the_home_and_temporary_folders(tmp_path: Path) -> None:
    model = toy.save_classifier(tmp_path / "model.onnx")
    np.savez(tmp_path / "calibration.npz", image=toy.images(8, seed=1)[0])
    script = (
        "import sys, edgekit\n"
        "edgekit.export(sys.argv[1], 'x86-64', calibration=sys.argv[2], out=sys.argv[3], max_drop=100)\n"
    )
    places = {"HOME": tmp_path / "home", "TMPDIR": tmp_path / "temporary"}
    for place in places.values():
        place.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY" and not k.startswith("XDG")}
    environment |= {name: str(place) for name, place in places.items()}
    command = [sys.executable, "-c", script, str(model), str(tmp_path / "calibration.npz"), str(tmp_path / "dist")]
    result = subprocess.run(
        command, env=environment, cwd=_PACKAGE.parent, capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "dist").rglob("*.onnx"))
    assert [path for place in places.values() for path in place.rglob("*")] == []
