from pathlib import Path

import pytest

import edgekit
from edgekit.emulation.output_scales import output_scales


@pytest.mark.parametrize("target", ["android-arm64", pytest.param("x86-64", marks=pytest.mark.slow)])
def test_the_step_of_a_float_interface_is_the_scale_of_the_integer_one(
    classifier: Path, calibration: Path, tmp_path: Path, target: str
) -> None:
    folders = {io: tmp_path / io for io in ("float", "int8")}
    for io, out in folders.items():
        edgekit.export(classifier, [target], calibration=calibration, out=out, io=io, name="toy")
    manifest = edgekit.verify(folders["int8"], hashes_only=True).manifest
    scale = next(artifact.outputs[0].scale for artifact in manifest.artifacts if artifact.format == "tflite")
    for format_name in ("tflite", "mnn", "onnx"):
        found = output_scales(folders["float"] / target / f"toy.{format_name}", format_name)
        assert found == {"logits": pytest.approx(scale, rel=1e-6)}


def test_float_artifacts_have_none(classifier: Path, tmp_path: Path) -> None:
    manifest = edgekit.export(classifier, ["android-arm64"], precision="fp32", out=tmp_path)
    for artifact in manifest.artifacts:
        assert output_scales(tmp_path / artifact.path, artifact.format) == {}
