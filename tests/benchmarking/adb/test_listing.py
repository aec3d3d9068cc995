import pytest

from edgekit.benchmarking.executors.adb.listing import Listed, advice, parse_devices

LINK = "http://developer.android.com/tools/device.html"

RECORDED = f"""\
* daemon not running; starting now at tcp:5037
* daemon started successfully
List of devices attached
R58M12ABCDE            device usb:1-3 product:beyond1ltexx model:SM_G973F device:beyond1 transport_id:3
emulator-5554          device product:sdk_gphone64_x86_64 model:sdk_gphone64_x86_64 device:emu64xa transport_id:1
192.168.1.20:5555      offline transport_id:9
1A281FDF6001234        unauthorized usb:1-4 transport_id:2
0123456789ABCDEF       no permissions (user in plugdev group; are your udev rules wrong?); see [{LINK}] usb:1-1
????????????           no permissions; see [{LINK}] usb:2-1 transport_id:6
FA6AB0301234           recovery usb:1-2 product:sailfish model:Pixel device:sailfish transport_id:4
adb-1A28-xyz._adb-tls-connect._tcp device product:oriole model:Pixel_6 device:oriole transport_id:8

"""


def test_every_state_is_read():
    assert parse_devices(RECORDED) == [
        Listed("R58M12ABCDE", "device", "SM G973F", "beyond1ltexx"),
        Listed("emulator-5554", "device", "sdk gphone64 x86 64", "sdk_gphone64_x86_64"),
        Listed("192.168.1.20:5555", "offline"),
        Listed("1A281FDF6001234", "unauthorized"),
        Listed("0123456789ABCDEF", "no permissions"),
        Listed("????????????", "no permissions"),
        Listed("FA6AB0301234", "recovery", "Pixel", "sailfish"),
        Listed("adb-1A28-xyz._adb-tls-connect._tcp", "device", "Pixel 6", "oriole"),
    ]


@pytest.mark.parametrize(
    "text", ["", "List of devices attached\n\n", "adb: error\n", "* daemon started successfully\n"]
)
def test_no_devices(text: str):
    assert parse_devices(text) == []


def test_only_a_usable_device_needs_no_advice():
    states = {listed.state for listed in parse_devices(RECORDED)} | {"sideload", "bootloader", "something new"}
    assert [state for state in sorted(states) if not advice(state)] == ["device"]
    assert "Allow USB debugging" in advice("unauthorized")
    assert "udev" in advice("no permissions")
