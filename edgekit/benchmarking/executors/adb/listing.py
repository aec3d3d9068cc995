"""What ``adb devices -l`` lists, and what to do about a device that cannot be used."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from edgekit.benchmarking.executors.adb.client import Adb, last_words
from edgekit.errors import DeviceError
from edgekit.profiles.device import Device

_LISTING_S = 20.0
_HEADING = "List of devices attached"
_LINE = re.compile(r"(?P<serial>\S+)\s+(?P<state>no permissions|no device|\S+)(?P<rest>.*)")

_ADVICE = {
    "device": "",
    "missing": "plug it in or switch it on, then look for it in `adb devices`",
    "refused": "switch on wireless debugging on the device and use the address that it shows",
    "unauthorized": 'unlock the device and answer "Allow USB debugging?" with yes',
    "authorizing": 'unlock the device and answer "Allow USB debugging?" with yes',
    "offline": "unplug it and plug it in again, or type `adb reconnect offline`",
    "connecting": "wait a moment, then try again; else unplug it and plug it in again",
    "no permissions": "install android-sdk-platform-tools-common, which has the udev rules, and plug it in again",
    "recovery": "it is in recovery: start Android (`adb reboot`)",
    "sideload": "it is in recovery: start Android (`adb reboot`)",
    "rescue": "it is in rescue mode: start Android (`adb reboot`)",
    "bootloader": "it is in the bootloader: start Android (`fastboot reboot`)",
    "host": "it is another host, not a device",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of ``adb devices -l``; ``model`` and ``product`` are there when the device has told them."""

    serial: str
    state: str
    model: str | None = None
    product: str | None = None


def advice(state: str) -> str:
    """What to do about a device in this state; nothing for one that can be used."""
    return _ADVICE.get(state, "unplug it and plug it in again, then look at `adb devices`")


def list_devices(adb: Adb) -> list[Listed]:
    """What ``adb devices -l`` lists. Raises DeviceError."""
    try:
        listing = adb.run(["devices", "-l"], timeout=_LISTING_S)
    except TimeoutError:
        raise DeviceError(f"{adb.path} devices hangs; type `adb kill-server` and try again") from None
    if listing.exit_code != 0:
        raise DeviceError(f"{adb.path} devices failed: {last_words(listing.stderr)}; type `adb kill-server`")
    return parse_devices(listing.stdout)


def find_serial(adb: Adb, device: Device) -> str:
    """The serial of the one listed device that fits a profile. Raises DeviceError.

    A serial without a pattern is taken as it is: it may be an address that adb has yet to connect to.
    """
    if device.serial is not None and device.model is None and not set("*?") & set(device.serial):
        return device.serial
    wanted = " ".join(
        f'{key} = "{value}"' for key, value in (("serial", device.serial), ("model", device.model)) if value
    )
    listed = list_devices(adb)
    fitting = [each.serial for each in listed if device.fits(each.serial, each.model)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DeviceError(f'{device.name}: {", ".join(fitting)} fit {wanted}; make "serial" fit one of them')
    there = ", ".join(f"{each.serial} ({each.model or each.state})" for each in listed) or "none"
    raise DeviceError(f"{device.name}: no attached device fits {wanted} (attached: {there}); {advice('missing')}")


def parse_devices(text: str) -> list[Listed]:
    """The devices in the output of ``adb devices -l``, in its order."""
    return list(_parse_lines(text))


def _parse_lines(text: str) -> Iterator[Listed]:
    _, _, lines = text.partition(_HEADING)
    for line in lines.splitlines()[1:]:
        found = _LINE.fullmatch(line.strip())
        # Lines that start with a star are the client's own words on starting the server.
        if found and not line.startswith("*"):
            words = dict(word.split(":", 1) for word in found["rest"].split() if ":" in word)
            model = words.get("model")
            yield Listed(found["serial"], found["state"], model and model.replace("_", " "), words.get("product"))
