"""The devices that can be measured on: those with a profile, and those that are attached. ``edgekit devices``."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import DependencyError, DeviceError, ProfileError
from edgekit.profiles.device import Device, load_device, load_profile
from edgekit.profiles.lookup import profile_paths
from edgekit.progress import Progress, Silent

if TYPE_CHECKING:
    from edgekit.benchmarking.executors import DeviceFacts
    from edgekit.benchmarking.executors.adb import AttachedDevice

SCHEMA = 1

CONNECT_S = 5.0
"""How long a board may take to answer when it is only asked whether it is there."""

_PROBES = 16


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """One device. ``name`` is what ``--device`` takes; ``usable`` is None when that was not tried.

    ``state`` is "ready", "not attached", "not checked", "not usable", "unknown", "wrong profile", or adb's own word,
    like "unauthorized". ``advice`` says why a device is not usable and what to do; empty when there is nothing to do.
    """

    name: str
    kind: str | None
    state: str
    usable: bool | None
    advice: str = ""
    model: str | None = None
    soc: str | None = None
    abi: str | None = None
    os: str | None = None
    path: Path | None = None
    profile: Device | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the profile."""
        return self.profile.labels if self.profile else ()

    def to_json(self) -> dict[str, Any]:
        """One entry of ``devices``."""
        document = {key: getattr(self, key) for key in ("name", "kind", "state", "usable")}
        document |= {"advice": self.advice or None, "labels": list(self.labels)}
        document |= {key: getattr(self, key) for key in ("model", "soc", "abi", "os")}
        return document | {
            "path": None if self.path is None else str(self.path),
            "profile": None if self.profile is None else _profile_json(self.profile),
        }


@dataclass(frozen=True, slots=True)
class Devices:
    """What was found; ``notes`` say what could not be asked."""

    devices: tuple[DeviceStatus, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The document of ``edgekit devices --json``."""
        return {"schema": SCHEMA, "devices": [each.to_json() for each in self.devices], "notes": list(self.notes)}


def find_devices(
    name: str | None = None, *, labels: Sequence[str] = (), check: bool = False, progress: Progress | None = None
) -> Devices:
    """All devices known or attached that have all ``labels``, or the one called ``name`` (as ``--device`` takes it).

    Boards over ssh, and phones over the network that adb is not connected to, are tried when ``check`` is set or
    ``name`` is given. A profile that is wrong is listed with its error; asked for by name, it is a ProfileError.
    """
    with (progress or Silent()).stage("looking for devices"):
        known, wrong = ([load_device(name)], []) if name else _profiles()
        attached: list[AttachedDevice] = []
        notes: tuple[str, ...] = ()
        adb_answers = False
        if name is None or known[0].kind == "adb":
            attached, notes = _attached()
            adb_answers = not notes
        statuses = [*_known(known, attached, adb_answers, check=check or name is not None), *wrong]
        if name is None:
            statuses += [_unprofiled(each) for each in attached if not any(_fits(device, each) for device in known)]
    return Devices(tuple(each for each in statuses if set(labels) <= set(each.labels)), notes)


def _profiles() -> tuple[list[Device], list[DeviceStatus]]:
    """The profiles that can be read, and those that cannot."""
    known, wrong = [], []
    for name, path in profile_paths("devices").items():
        try:
            known.append(load_profile(path))
        except ProfileError as error:
            wrong.append(DeviceStatus(name, None, "wrong profile", False, str(error), path=path))
    return known, wrong


def _attached() -> tuple[list["AttachedDevice"], tuple[str, ...]]:
    """What adb sees, or a note why it cannot be asked."""
    from edgekit.benchmarking.executors.adb import attached

    try:
        return attached(), ()
    except (DependencyError, DeviceError) as error:
        return [], (f"attached devices are unknown: {error}",)


def _known(
    devices: Sequence[Device], attached: Sequence["AttachedDevice"], adb_answers: bool, *, check: bool
) -> Iterator[DeviceStatus]:
    with ThreadPoolExecutor(_PROBES) as pool:
        boards = {device.name: pool.submit(_probe, device) for device in devices if device.kind == "ssh" and check}
        for device in devices:
            if device.kind == "adb":
                fitting = [each for each in attached if _fits(device, each)]
                if check and adb_answers and not fitting and _is_address(device.serial):
                    yield _probe(device)  # which connects to it, as `adb connect` does
                else:
                    yield _over_adb(device, fitting, adb_answers)
            elif device.kind == "local":
                yield _probe(device)
            elif device.name in boards:
                yield boards[device.name].result()
            else:
                yield _status(device, "not checked", None)


def _probe(device: Device) -> DeviceStatus:
    """Open the device, as a benchmark would."""
    try:
        facts = _read_facts(device)
    except (DeviceError, DependencyError) as error:
        return _status(device, "not usable", False, advice=str(error))
    return _status(device, "ready", True, model=facts.model, soc=facts.soc, abi=facts.abi, os=facts.os)


def _read_facts(device: Device) -> "DeviceFacts":
    from edgekit.benchmarking.executors import open_executor
    from edgekit.benchmarking.executors.ssh import open_executor as open_board

    with open_board(device, CONNECT_S) if device.kind == "ssh" else open_executor(device) as executor:
        return executor.facts


def _over_adb(device: Device, fitting: Sequence["AttachedDevice"], adb_answers: bool) -> DeviceStatus:
    if not adb_answers:
        return _status(device, "unknown", None)
    if not fitting:
        return _status(device, "not attached", False, advice=_how_to_attach(device))
    if len(fitting) > 1:
        serials = ", ".join(each.serial for each in fitting)
        return _status(device, "not usable", False, advice=f'{serials} fit its profile; make "serial" fit one of them')
    return _with_attached(_status(device, "ready", True), fitting[0])


def _is_address(serial: str | None) -> bool:
    """Whether adb reaches it over the network."""
    return re.fullmatch(r"[^*?]+:[0-9]+", serial or "") is not None


def _how_to_attach(device: Device) -> str:
    if _is_address(device.serial):
        return f"switch it on, then type `adb connect {device.serial}`"
    return "plug it in or switch it on, then look for it in `adb devices`"


def _unprofiled(attached: "AttachedDevice") -> DeviceStatus:
    return _with_attached(DeviceStatus(f"adb:{attached.serial}", "adb", "ready", True), attached)


def _with_attached(status: DeviceStatus, attached: "AttachedDevice") -> DeviceStatus:
    status = replace(status, model=attached.model, soc=attached.soc, abi=attached.abi, os=attached.os)
    if not attached.advice:
        return status
    state = "not usable" if attached.state == "device" else attached.state
    return replace(status, state=state, usable=False, advice=attached.advice)


def _fits(device: Device, attached: "AttachedDevice") -> bool:
    return device.kind == "adb" and device.fits(attached.serial, attached.listed_model)


def _status(device: Device, state: str, usable: bool | None, **facts: Any) -> DeviceStatus:
    facts.setdefault("abi", device.abi)
    return DeviceStatus(device.name, device.kind, state, usable, path=device.path, profile=device, **facts)


def _profile_json(device: Device) -> dict[str, Any]:
    """What a profile says and what the defaults are; what is said elsewhere is left out."""
    document = asdict(device)
    for key in ("name", "path", "kind", "labels"):
        del document[key]
    for runner in document["runners"].values():
        del runner["source"]
        runner["path"] = None if runner["path"] is None else str(runner["path"])
        runner["libraries"] = [str(each) for each in runner["libraries"]]
    return document
