"""The tables of ``edgekit devices`` on narrow terminals."""

import pytest
from rich.console import Console

from edgekit.console import devices as console_devices
from edgekit.console.devices import show_device, show_devices
from edgekit.devices import Devices, DeviceStatus

PHONE = DeviceStatus(
    "adb:R58M1234567890", "adb", "unauthorized", False, "allow it on the phone [now]", "Galaxy S21 Ultra 5G",
    "Exynos2100", "arm64-v8a", "Android 14 (API 34)",
)  # fmt: skip


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_devices, "output_console", lambda: Console(width=80, highlight=False))


def test_no_word_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    show_devices(Devices((PHONE,)))
    told = capsys.readouterr().out
    assert {"adb:R58M1234567890", "unauthorized", "Exynos2100", "arm64-v8a", "Galaxy", "Android"} <= set(told.split())
    assert "adb:R58M1234567890: allow it on the phone [now]" in told.splitlines()


def test_a_long_value_of_one_device_goes_on_below(capsys: pytest.CaptureFixture[str]) -> None:
    long = " ".join(["Debian GNU/Linux 12 (bookworm)"] * 4)
    show_device(Devices((DeviceStatus("board", "ssh", "ready", True, os=long),)))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "".join(lines).split().count("(bookworm)") == 4
