"""Device profiles."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from edgekit.benchmarking import runners
from edgekit.errors import ProfileError
from edgekit.profiles.device import Device, list_devices, load_device
from edgekit.profiles.runner import RUNNERS, RunnerProfile

DEVICES = Path(__file__).parents[2] / "devices"
SHA256 = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "devices").mkdir()


def profile(text: str) -> Device:
    """The device of a profile ``foo`` with this text, to which a description is added."""
    Path("devices/foo.toml").write_text(f'description = "a"\n{text}')
    return load_device("foo")


def error_of(text: str) -> str:
    with pytest.raises(ProfileError) as caught:
        profile(text)
    message = str(caught.value)
    assert message.startswith("devices/foo.toml: ") and "\n" not in message
    return message


def test_this_machine_is_a_device() -> None:
    assert [device.name for device in list_devices()] == ["local"]
    assert load_device("local").kind == "local"
    assert load_device("local").threads >= 1


def test_a_profile_of_the_working_directory_comes_first() -> None:
    Path("devices/local.toml").write_text('description = "mine"\nkind = "local"\nthreads = 3')
    assert load_device("local").threads == 3


@pytest.mark.parametrize(
    ("name", "kind", "serial", "host"),
    [
        ("adb:R5CT10", "adb", "R5CT10", None),
        ("adb:192.168.1.5:5555", "adb", "192.168.1.5:5555", None),
        ("ssh:pi@board", "ssh", None, "pi@board"),
        ("ssh:ssh://pi@board:2222", "ssh", None, "ssh://pi@board:2222"),
        ("ssh://pi@board:2222", "ssh", None, "ssh://pi@board:2222"),
    ],
)
def test_a_device_without_a_profile(name: str, kind: str, serial: str | None, host: str | None) -> None:
    device = load_device(name)
    assert (device.name, device.path, device.kind, device.serial, device.host) == (name, None, kind, serial, host)


@pytest.mark.parametrize("name", ["adb:", "ssh:", "adb:-s", "ssh:-oProxyCommand=x", "ssh:a b", "adb:a\tb", "ssh:a\n"])
def test_an_address_is_one_word_and_no_option(name: str) -> None:
    with pytest.raises(ProfileError, match="expected adb:SERIAL or ssh:HOST"):
        load_device(name)


def test_every_key_arrives() -> None:
    text = f"""
        kind = "ssh"
        host = "pi@board"
        abi = "arm64-v8a"
        target = "linux-arm64"
        threads = 4
        cores = [4, 5]
        cool_down_s = 7.5
        labels = ["lab", "arm"]
        folder = "~/edgekit"
        python = "/opt/venv/bin/python"
        [runners.tflite]
        kind = "edgekit"
        url = "https://example.com/runner"
        sha256 = "{SHA256}"
        libraries = ["lib/libLiteRt.so"]
        [runners.mnn]
        kind = "MNNV2Basic"
        path = "bin/MNNV2Basic.out"
        [runners.onnx]
        kind = "onnxruntime_perf_test"
        remote = "/opt/perf_test"
        """
    assert profile(text) == Device(
        name="foo",
        path=Path("devices/foo.toml"),
        description="a",
        kind="ssh",
        threads=4,
        labels=("lab", "arm"),
        host="pi@board",
        abi="arm64-v8a",
        target="linux-arm64",
        cores=(4, 5),
        cool_down_s=7.5,
        folder="~/edgekit",
        python="/opt/venv/bin/python",
        runners={
            "tflite": RunnerProfile(
                "edgekit",
                url="https://example.com/runner",
                sha256=SHA256,
                libraries=(Path("devices/lib/libLiteRt.so"),),
            ),
            "mnn": RunnerProfile("MNNV2Basic", path=Path("devices/bin/MNNV2Basic.out")),
            "onnx": RunnerProfile("onnxruntime_perf_test", remote="/opt/perf_test"),
        },
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('kind = "lokal"', 'expected one of "local", "adb", "ssh"; did you mean "local"?'),
        ("", 'missing key "kind"'),
        ('kind = "local"\nthreads = 0', "expected a whole number of at least 1"),
        ('kind = "local"\nthreads = 1.5', "expected a whole number of at least 1"),
        ('kind = "local"\nthreds = 1', 'unknown key "threds"; did you mean "threads"?'),
        ('kind = "local"\nfoldr = "/a"', 'unknown key "foldr"; did you mean "folder"?'),
        ('kind = "local"\nlabels = ["a", "a"]', '"labels" has "a" twice'),
        ('kind = "local"\nabi = "arm64"', '"abi" is \'arm64\'; expected one of "arm64-v8a"'),
        ('kind = "local"\ncores = [-1]', '"cores" is [-1]; expected numbers of cores'),
        ('kind = "local"\ncores = [0.5]', '"cores" is [0.5]; expected numbers of cores'),
        ('kind = "local"\ncores = [3, 3]', "each once"),
        ('kind = "local"\ncores = "big"', "\"cores\" is 'big'"),
        ('kind = "local"\ncool_down_s = -1', '"cool_down_s" is -1; expected a number between 0 and 3600'),
        ('kind = "local"\ntarget = ""', "\"target\" is ''; expected a text"),
        ('kind = "local"\nhost = "a"', '"host" is for kind = "ssh", and this is kind = "local"'),
        ('kind = "ssh"\nhost = "a"\nserial = "b"', '"serial" is for kind = "adb"'),
        ('kind = "ssh"\nhost = "a"\nmodel = "b"', '"model" is for kind = "adb"'),
        ('kind = "ssh"', 'missing key "host"'),
        ('kind = "ssh"\nhots = "a"', 'missing key "host"; is "hots" a typo?'),
        ('kind = "ssh"\nhost = "-v"', "\"host\" is '-v'; expected what ssh takes"),
        ('kind = "ssh"\nhost = "a b"', "\"host\" is 'a b'; expected what ssh takes"),
        ('kind = "adb"', 'missing key "serial"'),
        ('kind = "adb"\nserial = "-s"', "\"serial\" is '-s'"),
        ('kind = "adb"\nmodel = "a\\nb"', '"model" is'),
        ('kind = "adb"\nserial = "a"\npython = "b"', "Android has no Python"),
        ('kind = "ssh"\nhost = "a"\npython = "~/venv/bin/python"', "expected an absolute path"),
        ('kind = "ssh"\nhost = "a"\nfolder = "edgekit"', 'like "/mnt/data/edgekit"'),
        ('kind = "ssh"\nhost = "a"\nfolder = "~"', "a folder for edgekit alone"),
        ('kind = "ssh"\nhost = "a"\nfolder = "/"', "a folder for edgekit alone"),
        ('kind = "adb"\nserial = "a"\nfolder = "~/a"', 'like "/data/local/tmp/edgekit"'),
        ('kind = "local"\nfolder = "/a\\nb"', '"folder" is'),
        ('kind = "local"\nrunners = 1', "a table, written [runners]"),
        (
            'kind = "local"\n[runners.tflit]\nkind = "python"',
            'unknown key "tflit" in [runners]; did you mean "tflite"?',
        ),
        ('kind = "local"\n[runners.onnx]\nkind = "benchmark_model"', "\"kind\" in [runners.onnx] is 'benchmark_model'"),
        ('kind = "adb"\nserial = "a"\n[runners.mnn]\nkind = "python"', 'expected one of "edgekit", "MNNV2Basic"'),
        ('kind = "local"\n[runners.onnx]\nkind = "python"\npth = "a"', '"pth" in [runners.onnx]; did you mean "path"?'),
        ('kind = "local"\n[runners.onnx]\nkind = "edgekit"\nurl = "https://a/b"', "nothing is downloaded unpinned"),
        ('kind = "local"\n[runners.onnx]\nkind = "edgekit"\nurl = "b"', "\"url\" in [runners.onnx] is 'b'"),
        (
            f'kind = "local"\n[runners.onnx]\nkind = "edgekit"\nurl = "https://a/b"\nsha256 = "{SHA256[:-1]}"',
            "64 lower-case hexadecimal digits",
        ),
        (f'kind = "local"\n[runners.onnx]\nkind = "edgekit"\nsha256 = "{SHA256}"', 'is for "url", which is not there'),
        ('kind = "local"\n[runners.onnx]\nkind = "edgekit"\nremote = "a"', "an absolute path on the device"),
        ('kind = "local"\n[runners.onnx]\nkind = "edgekit"\npath = "a"\nremote = "/b"', 'more than one of "path"'),
        ('kind = "local"\n[runners.onnx]\nkind = "edgekit"\nlibraries = "a"', "expected a list of texts"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    assert message in error_of(text)


def test_an_unknown_device_names_the_nearest() -> None:
    with pytest.raises(ProfileError, match='unknown device "locl"; did you mean "local"'):
        load_device("locl")


@pytest.mark.parametrize(
    ("text", "serial", "model", "fits"),
    [
        ('serial = "R5CT"', "R5CT", "Pixel 8", True),
        ('serial = "R5CT"', "R5CT1", "Pixel 8", False),
        ('serial = "R5*"', "R5CT1", None, True),
        ('serial = "[::1]:5555"', "[::1]:5555", None, True),
        ('model = "Pixel 8*"', "any", "Pixel 8 Pro", True),
        ('model = "Pixel 8"', "any", "Pixel 8 Pro", False),
        ('model = "Pixel 8"', "any", None, False),
        ('serial = "R5*"\nmodel = "Pixel 8"', "R6", "Pixel 8", False),
    ],
)
def test_which_attached_device_a_profile_is_for(text: str, serial: str, model: str | None, fits: bool) -> None:
    assert profile(f'kind = "adb"\n{text}').fits(serial, model) is fits


@pytest.mark.parametrize("path", sorted(DEVICES.glob("examples/*.toml")), ids=lambda path: path.stem)
def test_the_examples_can_be_read(path: Path) -> None:
    assert load_device(str(path)).labels == ("arm64", "lab")


def test_the_profiles_in_the_reference_can_be_read() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (DEVICES / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        Path("devices/foo.toml").write_text(block)
        load_device("foo")


def test_the_reference_has_every_key_and_every_runner() -> None:
    words = set(re.findall(r"`([^`]+)`", (DEVICES / "README.md").read_text()))
    keys = {field.name for field in [*fields(Device), *fields(RunnerProfile)]} - {"name", "runners", "source"}
    assert keys <= words
    assert set(RUNNERS) <= words
    assert RUNNERS == runners.RUNNERS
