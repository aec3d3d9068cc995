"""Device profiles: the machines that artifacts are measured on. devices/README.md has every key."""

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgekit.errors import ProfileError
from edgekit.profiles.lookup import find_profile, profile_paths
from edgekit.profiles.runner import RunnerProfile, read_device_runners
from edgekit.profiles.toml import Table, read_toml

KINDS = ("local", "adb", "ssh")
ABIS = ("arm64-v8a", "armeabi-v7a", "x86_64", "x86", "riscv64")

_KEYS_OF_ONE_KIND = {"serial": "adb", "model": "adb", "host": "ssh"}


@dataclass(frozen=True, slots=True)
class Device:
    """One machine. ``threads`` is how many a runtime gets there; ``labels`` are free words to select devices by.

    How to reach it: ``serial`` and ``model`` (adb) are shell patterns, like ``emulator-*`` or ``Pixel 8*``, of what
    ``adb devices -l`` has, and it is the attached device that fits both; ``host`` (ssh) is anything that the OpenSSH
    client takes. ``cores`` are pinned; empty: the fastest ones are chosen. ``cool_down_s`` is how long to wait when it
    has throttled. ``target`` is the target profile whose promises of acceleration hold there. ``folder`` is where files
    go on the device.
    ``python`` is the interpreter there whose packages hold the runtimes; None: ``python3``, here the one that runs.
    """

    name: str
    path: Path | None
    description: str
    kind: Literal["local", "adb", "ssh"]
    threads: int = 1
    labels: tuple[str, ...] = ()
    serial: str | None = None
    host: str | None = None
    abi: str | None = None
    target: str | None = None
    cores: tuple[int, ...] = ()
    cool_down_s: float = 30.0
    folder: str | None = None
    runners: Mapping[str, RunnerProfile] = field(default_factory=dict)
    python: str | None = None
    model: str | None = None

    def fits(self, serial: str, model: str | None) -> bool:
        """Whether an attached device is the one that this adb profile is for."""
        if self.serial not in (None, serial) and not fnmatch.fnmatchcase(serial, self.serial or ""):
            return False
        return self.model is None or fnmatch.fnmatchcase(model or "", self.model)


def load_device(name: str) -> Device:
    """The device called ``name``: a profile, the path of a ``.toml`` file, ``local``, ``adb:SERIAL`` or ``ssh:HOST``.

    Raises ProfileError.
    """
    kind, colon, address = name.partition(":")
    if not colon or kind not in ("adb", "ssh"):
        return _parse(read_toml(find_profile("devices", name)))
    if kind == "ssh" and address.startswith("//"):  # ssh://user@host:port, as OpenSSH writes it
        address = name
    if not _is_address(address):
        raise ProfileError(f'device "{name}": expected adb:SERIAL or ssh:HOST')
    if kind == "adb":
        return Device(name, None, f"adb device {address}", "adb", serial=address)
    return Device(name, None, f"ssh host {address}", "ssh", host=address)


def list_devices() -> list[Device]:
    """All profiles of the working directory and the package, sorted by name. Raises ProfileError."""
    return [load_profile(path) for path in profile_paths("devices").values()]


def load_profile(path: Path) -> Device:
    """The profile in this file. Raises ProfileError."""
    return _parse(read_toml(path))


def _parse(root: Table) -> Device:
    kind = root.one_of("kind", KINDS)
    _refuse_keys_of_other_kinds(root, kind)
    device = Device(
        name=root.path.stem,
        path=root.path,
        description=root.string("description"),
        kind=kind,
        threads=root.integer("threads", 1, minimum=1),
        labels=root.strings("labels", ()),
        serial=_line(root, "serial") if kind == "adb" and ("serial" in root or "model" not in root) else None,
        model=_line(root, "model") if "model" in root else None,
        host=_host(root) if kind == "ssh" else None,
        abi=root.one_of("abi", ABIS) if "abi" in root else None,
        target=root.string("target") if "target" in root else None,
        cores=_cores(root),
        cool_down_s=root.number("cool_down_s", 30.0, low=0, high=3600),
        folder=_folder(root, kind) if "folder" in root else None,
        runners=read_device_runners(root.table("runners"), kind),
        python=_python(root) if "python" in root else None,
    )
    for key in ("serial", "model", "host", "abi", "target", "folder", "python"):
        root.string(key, "-")
    root.finish()
    return device


def _refuse_keys_of_other_kinds(root: Table, kind: str) -> None:
    for key, its_kind in _KEYS_OF_ONE_KIND.items():
        if key in root and kind != its_kind:
            raise ProfileError(f'{root.path}: "{key}" is for kind = "{its_kind}", and this is kind = "{kind}"')
    if kind == "adb" and "python" in root:
        raise ProfileError(f'{root.path}: "python" is for kind = "ssh" or "local": Android has no Python')


def _is_address(text: str) -> bool:
    """What adb and ssh may get as an argument: neither an option nor several words."""
    return bool(text) and not text.startswith("-") and not re.search(r"[\s\x00-\x1f\x7f]", text)


def _host(root: Table) -> str:
    host = root.string("host")
    if not _is_address(host):
        raise root.error("host", 'what ssh takes: "board", "user@192.168.1.7" or "ssh://user@board:2222"')
    return host


def _line(root: Table, key: str) -> str:
    text = root.string(key)
    if text.startswith("-") or not text.isprintable():
        raise root.error(key, "one printable line that does not begin with -")
    return text


def _python(root: Table) -> str:
    python = _line(root, "python")
    if not python.startswith("/") and "/" in python:
        raise root.error("python", 'an absolute path, like "/home/pi/venv/bin/python", or a name on its PATH')
    return python


def _folder(root: Table, kind: str) -> str:
    folder = root.string("folder")
    allowed = folder.startswith("/") or (folder.startswith("~/") and kind != "adb")
    if not allowed or not folder.isprintable() or folder.strip("/~") == "":
        home = "" if kind == "adb" else ' or in the home folder, like "~/edgekit"'
        example = "/data/local/tmp/edgekit" if kind == "adb" else "/mnt/data/edgekit"
        raise root.error("folder", f'a folder for edgekit alone, like "{example}"{home}')
    return folder


def _cores(root: Table) -> tuple[int, ...]:
    cores = root.numbers("cores", ())
    if any(core < 0 or core != int(core) for core in cores) or len(set(cores)) < len(cores):
        raise root.error("cores", "numbers of cores, each once, like [4, 5, 6, 7]")
    return tuple(int(core) for core in cores)
