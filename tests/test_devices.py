"""Which devices are known, attached and usable: with a real adb and a phone on loopback, and a real sshd."""

# ruff: noqa: F401, F811 (imported fixtures)
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgekit.benchmarking.executors import open_executor
from edgekit.devices import Devices, DeviceStatus, find_devices
from edgekit.errors import DeviceError, ProfileError
from edgekit.profiles.device import Device
from tests.benchmarking.adb.conftest import adb, adb_environment, make_phone  # the fixtures
from tests.benchmarking.adb.phone import Phone
from tests.benchmarking.sshd import Server
from tests.test_cli import edgekit, error_of

MakePhone = Callable[..., Phone]


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Writes devices/NAME.toml in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "devices").mkdir()

    def write(name: str, text: str) -> None:
        (tmp_path / "devices" / f"{name}.toml").write_text(f'description = "{name}"\n{text}')

    return write


@pytest.fixture
def no_adb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.benchmarking.executors.adb.client._candidates", lambda: iter(()))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.close()


@pytest.fixture
def board(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.config))
    return server


def attach(phone: Phone) -> None:
    """The adb server lists it from now on, as after ``adb connect``."""
    with open_executor(Device("phone", None, "", "adb", serial=phone.serial)):
        pass
    subprocess.run(["adb", "connect", phone.serial], check=True, capture_output=True, timeout=60)


def one(found: Devices, name: str) -> DeviceStatus:
    (status,) = [each for each in found.devices if each.name == name]
    return status


def test_this_machine_is_always_ready(no_adb: None, profiles: object) -> None:
    status = one(find_devices(), "local")
    assert (status.kind, status.state, status.usable, status.advice) == ("local", "ready", True, "")
    assert status.abi and status.os


def test_without_adb_attached_devices_are_unknown(no_adb: None, profiles: Callable[[str, str], None]) -> None:
    profiles("phone", 'kind = "adb"\nserial = "R5CT"')
    found = find_devices()
    assert (one(found, "phone").state, one(found, "phone").usable) == ("unknown", None)
    (note,) = found.notes
    assert note.startswith("attached devices are unknown") and "edgekit[adb]" in note


def test_a_wrong_profile_does_not_hide_the_others(no_adb: None, profiles: Callable[[str, str], None]) -> None:
    profiles("broken", 'kind = "ssh"\nhots = "board"')
    profiles("good", 'kind = "ssh"\nhost = "board"\nlabels = ["arm"]')
    found = find_devices()
    assert [each.name for each in found.devices] == ["good", "local", "broken"]
    assert one(found, "broken").state == "wrong profile" and 'is "hots" a typo?' in one(found, "broken").advice
    with pytest.raises(ProfileError, match='missing key "host"'):
        find_devices("broken")


def test_labels_select(no_adb: None, profiles: Callable[[str, str], None]) -> None:
    profiles("a", 'kind = "ssh"\nhost = "a"\nlabels = ["arm", "lab"]')
    profiles("b", 'kind = "ssh"\nhost = "b"\nlabels = ["arm"]')
    assert [each.name for each in find_devices(labels=["arm"]).devices] == ["a", "b"]
    assert [each.name for each in find_devices(labels=["arm", "lab"]).devices] == ["a"]


def test_an_attached_phone_without_a_profile_is_listed(make_phone: MakePhone, profiles: object) -> None:
    phone = make_phone()
    attach(phone)
    status = one(find_devices(), f"adb:{phone.serial}")
    assert (status.state, status.usable, status.profile) == ("ready", True, None)
    assert (status.model, status.soc, status.abi) == ("Google Pixel 6", "Google Tensor", "arm64-v8a")
    assert status.os == "Android 14 (API 34)"


@pytest.mark.parametrize("key", ['serial = "{serial}"', 'serial = "127.0.*:{port}"', 'model = "Pixel ?"'])
def test_an_attached_phone_with_a_profile_is_listed_once_and_opened(
    make_phone: MakePhone, profiles: Callable[[str, str], None], key: str
) -> None:
    phone = make_phone()
    attach(phone)
    profiles("pixel", f'kind = "adb"\nlabels = ["arm64"]\n{key.format(serial=phone.serial, port=phone.port)}')
    found = find_devices()
    assert [each.name for each in found.devices] == ["local", "pixel"]
    status = one(found, "pixel")
    assert (status.state, status.model, status.labels) == ("ready", "Google Pixel 6", ("arm64",))
    assert status.profile is not None
    with open_executor(status.profile) as executor:
        assert executor.facts.model == "Google Pixel 6"


def test_a_profile_that_fits_no_phone_or_two(make_phone: MakePhone, profiles: Callable[[str, str], None]) -> None:
    profiles("pixel", 'kind = "adb"\nmodel = "Pixel 6"')
    profiles("galaxy", 'kind = "adb"\nserial = "R5CT"')
    profiles("wireless", 'kind = "adb"\nserial = "127.0.0.1:1"')
    phones = [make_phone(), make_phone()]
    for phone in phones:
        attach(phone)
    found = find_devices()
    assert one(found, "galaxy").state == "not attached" and "plug it in" in one(found, "galaxy").advice
    assert "adb connect 127.0.0.1:1" in one(found, "wireless").advice
    pixel = one(found, "pixel")
    assert pixel.usable is False and all(phone.serial in pixel.advice for phone in phones)
    assert pixel.profile is not None
    with pytest.raises(DeviceError, match='fit model = "Pixel 6"; make "serial" fit one'), open_executor(pixel.profile):
        pass
    nothing = Device("nexus", None, "", "adb", model="Nexus*")
    with pytest.raises(DeviceError, match=r'no attached device fits model = "Nexus\*" \(attached: '):
        open_executor(nothing).__enter__()


def test_a_phone_on_the_network_is_connected_to_when_it_is_named(make_phone: MakePhone, profiles: object) -> None:
    phone = make_phone()
    name = f"adb:{phone.serial}"
    assert name not in [each.name for each in find_devices().devices]
    assert (one(find_devices(name), name).state, one(find_devices(name), name).model) == ("ready", "Google Pixel 6")
    phone.unplug()
    lost = one(find_devices(name), name)
    assert lost.usable is False and phone.serial in lost.advice


def test_a_phone_that_lets_nobody_in_says_what_to_do(make_phone: MakePhone, profiles: object) -> None:
    phone = make_phone()
    phone.auth = "reject"
    subprocess.run(["adb", "connect", phone.serial], check=False, capture_output=True, timeout=60)
    status = one(find_devices(f"adb:{phone.serial}"), f"adb:{phone.serial}")
    assert (status.state, status.usable) == ("unauthorized", False)
    assert "Allow USB debugging" in status.advice


def test_boards_are_asked_only_when_wanted(board: Server, no_adb: None, profiles: Callable[[str, str], None]) -> None:
    profiles("pi", 'kind = "ssh"\nhost = "board"\nabi = "riscv64"')
    profiles("bench", 'kind = "ssh"\nhost = "board"')
    profiles("lost", 'kind = "ssh"\nhost = "nowhere.invalid"')
    assert {each.state for each in find_devices(labels=[]).devices if each.kind == "ssh"} == {"not checked"}
    found = find_devices(check=True)
    assert [(each.name, each.state) for each in found.devices] == [
        ("bench", "ready"),
        ("local", "ready"),
        ("lost", "not usable"),
        ("pi", "not usable"),
    ]
    assert one(found, "bench").os == one(found, "local").os
    assert "no such host" in one(found, "lost").advice
    assert 'devices/pi.toml says abi = "riscv64"' in one(found, "pi").advice
    assert one(find_devices("bench"), "bench").usable is True


def test_the_command_lists(board: Server, profiles: Callable[[str, str], None], adb: None) -> None:
    profiles("bench", 'kind = "ssh"\nhost = "board"\nlabels = ["lab"]')
    profiles("broken", "kind = 3")
    result = edgekit("devices", "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["schema"] == 1 and document["notes"] == []
    by_name = {each["name"]: each for each in document["devices"]}
    assert list(by_name) == ["bench", "local", "broken"]
    assert by_name["bench"] | {"profile": 0} == {
        "name": "bench",
        "kind": "ssh",
        "state": "not checked",
        "usable": None,
        "advice": None,
        "labels": ["lab"],
        "model": None,
        "soc": None,
        "abi": None,
        "os": None,
        "path": "devices/bench.toml",
        "profile": 0,
    }
    assert by_name["bench"]["profile"]["host"] == "board"
    table = edgekit("devices").stdout
    assert "bench" in table and 'devices/broken.toml: "kind" is 3' in table and "--check" in table


def test_the_command_shows_and_tries_one(board: Server, profiles: Callable[[str, str], None]) -> None:
    profiles("bench", 'kind = "ssh"\nhost = "board"\ncores = [0]')
    profiles("lost", 'kind = "ssh"\nhost = "nowhere.invalid"')
    shown = edgekit("devices", "bench")
    assert shown.returncode == 0 and "ready" in shown.stdout and "host" in shown.stdout
    lost = edgekit("devices", "lost", "--json")
    assert lost.returncode == 6
    assert json.loads(lost.stdout)["devices"][0]["usable"] is False
    assert 'unknown device "lots"; did you mean "lost"?' in error_of(edgekit("devices", "lots"), 3)
