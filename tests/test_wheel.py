"""What a user installs works away from the source tree."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the tree, unpacked as an installer does."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def edgekit(installed: Path, cwd: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    # -P and the path in front keep an editable install of the tree out.
    code = "import sys; from edgekit.cli import main; import edgekit; sys.stderr.write(edgekit.__file__); main()"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        check=False,
    )


@pytest.mark.slow
def test_a_wheel_carries_its_profiles_and_data(installed: Path, classifier: Path, tmp_path: Path) -> None:
    listed = edgekit(installed, tmp_path, "targets")
    assert str(installed) in listed.stderr
    for name in ("android-arm64", "linux-arm64", "android-gpu", "x86-64", "x86-64-avx2"):
        assert name in listed.stdout
    profiles = installed / "edgekit" / "_profiles"
    assert (profiles / "devices" / "local.toml").is_file()
    assert (profiles / "calibration" / "fashion_mnist_calibration.npz").is_file()
    assert (installed / "edgekit" / "py.typed").is_file()
    runner = Path("edgekit", "benchmarking", "runner")
    carried = {path.name for path in (installed / runner).iterdir()}
    assert {path.name for path in (ROOT / runner).glob("*.*")} <= carried


@pytest.mark.slow
def test_a_wheel_exports_by_the_names_it_carries(
    installed: Path, classifier: Path, calibration: Path, tmp_path: Path
) -> None:
    result = edgekit(installed, tmp_path, "export", classifier, "-c", calibration, "-t", "linux-arm64")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "dist" / "linux-arm64" / "toy.tflite").is_file()
    # A shipped descriptor is found by its name; its images are not what this model takes.
    result = edgekit(installed, tmp_path, "export", classifier, "-c", "fashion_mnist_calibration", "-t", "x86-64")
    assert result.returncode == 3
    assert "28" in result.stderr
