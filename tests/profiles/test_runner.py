"""Programs that target profiles name, and which devices they are for."""

from pathlib import Path

import pytest

from edgekit.benchmarking.benchmark import _with_programs
from edgekit.errors import ProfileError
from edgekit.profiles.device import Device
from edgekit.profiles.runner import RunnerProfile
from edgekit.profiles.target import Target, load_target

SHA256 = "0123456789abcdef" * 4
PINNED = f'kind = "benchmark_model"\nurl = "https://example.com/benchmark_model"\nsha256 = "{SHA256}"\n'


def target(folder: Path, runners: str) -> Target:
    path = folder / "phone.toml"
    path.write_text(f'description = "a phone"\nextends = "android-arm64"\n{runners}')
    return load_target(str(path))


def test_a_target_names_a_program_for_devices_that_have_none(tmp_path: Path) -> None:
    profile = target(tmp_path, f'[runners.tflite]\n{PINNED}[runners.mnn]\nkind = "MNNV2Basic"\nremote = "/data/mnn"\n')
    own = RunnerProfile("MNNV2Basic", remote="/data/local/tmp/MNNV2Basic.out")
    phone = Device("phone", None, "a phone", "adb", serial="1", runners={"mnn": own})
    found = _with_programs(phone, profile).runners
    assert found["tflite"].url == "https://example.com/benchmark_model" and found["tflite"].sha256 == SHA256
    assert found["mnn"] == own
    here = Device("local", None, "this machine", "local")
    assert _with_programs(here, profile) == here


@pytest.mark.parametrize(
    ("runners", "message"),
    [
        ('[runners.tflite]\nkind = "benchmark_model"\nurl = "https://a/b"\n', "nothing is downloaded unpinned"),
        ('[runners.tflite]\nkind = "benchmark_model"\npath = "b"\n', "files belong in a device profile"),
        ('[runners.tflite]\nkind = "python"\n', 'expected one of "benchmark_model"'),
        ("[runners.tflit]\n" + PINNED, 'unknown key "tflit" in [runners]; did you mean "tflite"?'),
    ],
)
def test_mistakes_are_named(tmp_path: Path, runners: str, message: str) -> None:
    with pytest.raises(ProfileError) as caught:
        target(tmp_path, runners)
    assert message in str(caught.value) and "phone.toml" in str(caught.value)
