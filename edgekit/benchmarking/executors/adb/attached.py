"""Which devices adb sees, and what each of them is or needs."""

from dataclasses import dataclass

from edgekit.benchmarking.executors import DeviceFacts
from edgekit.benchmarking.executors.adb.client import Adb
from edgekit.benchmarking.executors.adb.connection import Connection
from edgekit.benchmarking.executors.adb.executor import read_device_facts
from edgekit.benchmarking.executors.adb.listing import Listed, advice, list_devices
from edgekit.errors import DeviceError


@dataclass(frozen=True, slots=True)
class AttachedDevice:
    """A device that adb lists. ``state`` is adb's word, "device" for one that can be used; ``advice`` is empty then."""

    serial: str
    state: str
    model: str | None = None
    soc: str | None = None
    abi: str | None = None
    os: str | None = None
    advice: str = ""


def attached() -> list[AttachedDevice]:
    """All devices that adb lists. Raises DependencyError without adb, DeviceError when its server does not start."""
    adb = Adb()
    return [_describe(adb, listed) for listed in list_devices(adb)]


def _describe(adb: Adb, listed: Listed) -> AttachedDevice:
    if listed.state != "device":
        return AttachedDevice(listed.serial, listed.state, model=listed.model, advice=advice(listed.state))
    connection = Connection(adb, listed.serial)
    try:
        facts = read_device_facts(connection, connection.name)
    except DeviceError as error:
        return AttachedDevice(listed.serial, listed.state, model=listed.model, advice=str(error))
    return _usable(listed, facts)


def _usable(listed: Listed, facts: DeviceFacts) -> AttachedDevice:
    return AttachedDevice(listed.serial, listed.state, facts.model or listed.model, facts.soc, facts.abi, facts.os)
