"""Which devices adb sees, and what each of them is or needs."""

from dataclasses import dataclass, replace

from edgekit.benchmarking.executors.adb.client import Adb
from edgekit.benchmarking.executors.adb.connection import Connection
from edgekit.benchmarking.executors.adb.executor import read_device_facts
from edgekit.benchmarking.executors.adb.listing import Listed, advice, list_devices
from edgekit.errors import DeviceError


@dataclass(frozen=True, slots=True)
class AttachedDevice:
    """A device that adb lists. ``state`` is adb's word, "device" for one that can be used; ``advice`` is empty then.

    ``listed_model`` is the model as `adb devices -l` has it, without its maker: what profiles go by.
    """

    serial: str
    state: str
    model: str | None = None
    soc: str | None = None
    abi: str | None = None
    os: str | None = None
    advice: str = ""
    listed_model: str | None = None


def attached() -> list[AttachedDevice]:
    """All devices that adb lists. Raises DependencyError without adb, DeviceError when its server does not start."""
    adb = Adb()
    return [_describe(adb, listed) for listed in list_devices(adb)]


def _describe(adb: Adb, listed: Listed) -> AttachedDevice:
    device = AttachedDevice(listed.serial, listed.state, model=listed.model, listed_model=listed.model)
    if listed.state != "device":
        return replace(device, advice=advice(listed.state))
    connection = Connection(adb, listed.serial)
    try:
        facts = read_device_facts(connection, connection.name)
    except DeviceError as error:
        return replace(device, advice=str(error))
    return replace(device, model=facts.model or listed.model, soc=facts.soc, abi=facts.abi, os=facts.os)
