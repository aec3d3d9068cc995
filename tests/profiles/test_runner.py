"""Programs that target profiles name, and which devices they are for."""

from pathlib import Path

import pytest

from edgekit.benchmarking.benchmark import _with_programs
from edgekit.benchmarking.tools import local_program
from edgekit.errors import DependencyError, ProfileError
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


def test_errors_name_the_profile_that_names_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the device's, when the program is the target's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = f'kind = "benchmark_model"\nurl = "http://127.0.0.1:9/benchmark_model"\nsha256 = "{"0" * 64}"\n'
    profile = target(tmp_path, f"[runners.tflite]\n{url}")
    phone = Device("pixel", tmp_path / "pixel.toml", "a phone", "adb", serial="x")
    found = _with_programs(phone, profile)
    with pytest.raises(DependencyError, match=rf"^{profile.path}: \[runners.tflite\] http://127"):
        local_program(found, "tflite", found.runners["tflite"])
    unsaid = RunnerProfile("benchmark_model")
    with pytest.raises(ProfileError, match=rf"^{phone.path}: \[runners.tflite\] says kind"):
        local_program(phone, "tflite", unsaid)
