import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgekit.benchmarking.executors.adb.client import find_adb
from edgekit.errors import DependencyError
from edgekit.profiles.device import Device
from tests.benchmarking.adb.phone import Phone


def _free_port() -> int:
    """A port that adb does not look for emulators on (5555 to 5585) and that is not its server's (5037)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def adb_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An adb server of these tests alone: its own port, and a home of its own so that no key of the user is touched."""
    try:
        adb = str(find_adb())
    except DependencyError as error:
        pytest.skip(str(error))
    home = tmp_path_factory.mktemp("adb-home")
    environment = {"ANDROID_ADB_SERVER_PORT": str(_free_port()), "HOME": str(home), "ADB_MDNS_AUTO_CONNECT": "0"}
    everything = {**os.environ, **environment}
    # Its daemon must not hold pytest's pipes open.
    subprocess.run([adb, "start-server"], env=everything, check=True, stdout=-3, stderr=-3, timeout=60)
    yield environment
    subprocess.run([adb, "kill-server"], env=everything, check=False, stdout=-3, stderr=-3, timeout=60)


@pytest.fixture
def adb(adb_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in the test talks to that server."""
    for key, value in adb_environment.items():
        monkeypatch.setenv(key, value)


@pytest.fixture
def make_phone(adb: None, tmp_path: Path) -> Iterator[Callable[..., Phone]]:
    """Makes phones; they are switched off after the test."""
    phones: list[Phone] = []

    def make(properties: dict[str, str] | None = None) -> Phone:
        phones.append(Phone(tmp_path / f"phone-{len(phones)}", properties))
        return phones[-1]

    yield make
    for phone in phones:
        phone.stop()
        subprocess.run(["adb", "disconnect", phone.serial], check=False, stdout=-3, stderr=-3, timeout=60)


@pytest.fixture
def phone(make_phone: Callable[..., Phone]) -> Phone:
    return make_phone()


@pytest.fixture
def device(phone: Phone) -> Device:
    """The profile of ``phone``."""
    return Device("pixel", None, "a phone on loopback", "adb", serial=phone.serial)


@pytest.fixture
def tool(tmp_path: Path) -> Callable[[str, str], Path]:
    """Makes programs to push: scripts for the phone's sh."""

    def make(name: str, script: str) -> Path:
        path = tmp_path / "tools" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        return path

    return make


@pytest.fixture
def sh() -> str:
    return shutil.which("sh") or "/bin/sh"
