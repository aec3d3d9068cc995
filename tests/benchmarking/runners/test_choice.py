import pytest

from edgekit.benchmarking.runners import choice
from edgekit.benchmarking.runners.choice import default_runner
from edgekit.errors import ProfileError
from edgekit.profiles.device import Device
from edgekit.profiles.runner import RunnerProfile

LOCAL = Device("here", None, "this machine", "local")
BOARD = Device("board", None, "a board", "ssh", host="board", abi="arm64-v8a")
PHONE = Device("phone", None, "a phone", "adb", serial="123")


@pytest.mark.parametrize("device", [LOCAL, BOARD])
@pytest.mark.parametrize(
    ("has_compiler", "chosen"),
    [(True, ("edgekit", "edgekit", "python")), (False, ("python", "python", "python"))],
)
def test_our_own_program_where_it_can_be_built(device, has_compiler, chosen, monkeypatch):
    monkeypatch.setattr(choice, "can_build", lambda abi, for_this_machine: has_compiler)
    assert tuple(default_runner(device, format_name).name for format_name in ("tflite", "onnx", "mnn")) == chosen


def test_the_profile_decides():
    runners = {"tflite": RunnerProfile("benchmark_model", remote="/data/benchmark_model")}
    phone = Device("phone", None, "a phone", "adb", serial="123", runners=runners)
    assert default_runner(phone, "tflite").name == "benchmark_model"


@pytest.mark.parametrize(("format_name", "program"), [("tflite", "benchmark_model"), ("mnn", "MNNV2Basic")])
def test_a_phone_needs_a_profile(format_name, program):
    with pytest.raises(ProfileError, match=rf'\[runners\.{format_name}\] with kind = "{program}".*serial = "123"'):
        default_runner(PHONE, format_name)
