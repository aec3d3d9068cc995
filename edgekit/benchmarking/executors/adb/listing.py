"""What ``adb devices -l`` lists, and what to do about a device that cannot be used."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

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
