"""Device profiles: the machines that artifacts are measured on (``devices/*.toml``)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgekit.errors import ProfileError
from edgekit.profiles.lookup import find_profile, profile_paths
from edgekit.profiles.toml import Table, read_toml

KINDS = ("local", "adb", "ssh")
ABIS = ("arm64-v8a", "armeabi-v7a", "x86_64", "x86", "riscv64")
FORMATS = ("tflite", "mnn", "onnx")
RUNNERS = ("edgekit", "python", "benchmark_model", "MNNV2Basic", "onnxruntime_perf_test")

_SHA256_DIGITS = 64


@dataclass(frozen=True, slots=True)
class RunnerProfile:
    """The program that measures one format on a device.

    ``path`` is a local file that is pushed (relative to the profile); ``url`` with ``sha256`` is where it is downloaded
    from, once; ``remote`` is where it is on the device already. ``libraries`` are local files pushed beside it.
    With none of these the runner finds or builds its program itself, if it can.
    """

    kind: str
    path: Path | None = None
    url: str | None = None
    sha256: str | None = None
    remote: str | None = None
    libraries: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Device:
    """One machine. ``threads`` is how many a runtime gets there; ``labels`` are free words to select devices by.

    ``serial`` (adb) and ``host`` (ssh: anything that the OpenSSH client takes) say how to reach it. ``cores`` are
    pinned; empty: the fastest ones are chosen. ``cool_down_s`` is how long to wait when it has throttled. ``target`` is
    the target profile whose promises of acceleration hold there. ``folder`` is where files go on the device.
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


def load_device(name: str) -> Device:
    """The device called ``name``: a profile, the path of a ``.toml`` file, ``local``, ``adb:SERIAL`` or ``ssh:HOST``.

    Raises ProfileError.
    """
    kind, colon, address = name.partition(":")
    if colon and kind in ("adb", "ssh"):
        if not address or address.startswith("-"):
            raise ProfileError(f'device "{name}": expected adb:SERIAL or ssh:HOST')
        if kind == "adb":
            return Device(name, None, f"adb device {address}", "adb", serial=address)
        return Device(name, None, f"ssh host {address}", "ssh", host=address)
    return _parse(read_toml(find_profile("devices", name)))


def list_devices() -> list[Device]:
    """All profiles of the working directory and the package, sorted by name. Raises ProfileError."""
    return [_parse(read_toml(path)) for path in profile_paths("devices").values()]


def _parse(root: Table) -> Device:
    kind = root.one_of("kind", KINDS)
    device = Device(
        name=root.path.stem,
        path=root.path,
        description=root.string("description"),
        kind=kind,
        threads=root.integer("threads", 1, minimum=1),
        labels=root.strings("labels", ()),
        serial=root.string("serial") if kind == "adb" else None,
        host=root.string("host") if kind == "ssh" else None,
        abi=root.one_of("abi", ABIS) if "abi" in root else None,
        target=root.string("target") if "target" in root else None,
        cores=_cores(root),
        cool_down_s=root.number("cool_down_s", 30.0, low=0, high=3600),
        folder=root.string("folder") if "folder" in root else None,
        runners=_runners(root.table("runners")),
    )
    root.finish()
    return device


def _cores(root: Table) -> tuple[int, ...]:
    cores = root.numbers("cores", ())
    if any(core < 0 or core != int(core) for core in cores):
        raise root.error("cores", "numbers of cores, like [4, 5, 6, 7]")
    return tuple(int(core) for core in cores)


def _runners(table: Table) -> dict[str, RunnerProfile]:
    runners = {format_: _runner(table.table(format_)) for format_ in FORMATS if format_ in table}
    table.finish()
    return runners


def _runner(table: Table) -> RunnerProfile:
    folder = table.path.parent
    runner = RunnerProfile(
        kind=table.one_of("kind", RUNNERS),
        path=folder / table.string("path") if "path" in table else None,
        url=table.string("url") if "url" in table else None,
        sha256=table.string("sha256") if "sha256" in table else None,
        remote=table.string("remote") if "remote" in table else None,
        libraries=tuple(folder / each for each in table.strings("libraries", ())),
    )
    table.finish()
    _require_pin(table, runner)
    return runner


def _require_pin(table: Table, runner: RunnerProfile) -> None:
    if runner.sha256 is not None and (
        len(runner.sha256) != _SHA256_DIGITS or not set(runner.sha256) <= set("0123456789abcdef")
    ):
        raise table.error("sha256", "64 lower-case hexadecimal digits")
    if runner.url is not None and runner.sha256 is None:
        raise ProfileError(f'{table.path}: "url" in [{table.name}] has no "sha256"; nothing is downloaded unpinned')
    if sum(each is not None for each in (runner.path, runner.url, runner.remote)) > 1:
        raise ProfileError(
            f'{table.path}: [{table.name}] has more than one of "path", "url" and "remote"; expected one'
        )
