"""The programs that measure artifacts, as device and target profiles name them: ``[runners.<format>]``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.errors import ProfileError
from edgekit.profiles.toml import Table

FORMATS = ("tflite", "mnn", "onnx")

_RUNNER_FORMATS = {
    "edgekit": FORMATS,
    "python": FORMATS,
    "benchmark_model": ("tflite",),
    "MNNV2Basic": ("mnn",),
    "onnxruntime_perf_test": ("onnx",),
}
RUNNERS = tuple(_RUNNER_FORMATS)

_OWN = ("edgekit", "python")
"""They find or build themselves."""

_URL_SCHEMES = ("https://", "http://")


@dataclass(frozen=True, slots=True)
class RunnerProfile:
    """The program that measures one format on a device.

    ``path`` is a local file that is pushed (relative to the profile); ``url`` with ``sha256`` is where it is downloaded
    from, once; ``remote`` is where it is on the device already. ``libraries`` are local files pushed beside it.
    With none of these the runner finds or builds its program itself, if it can. ``source`` is the device or target
    profile that says so.
    """

    kind: str
    path: Path | None = None
    url: str | None = None
    sha256: str | None = None
    remote: str | None = None
    libraries: tuple[Path, ...] = ()
    source: Path | None = field(default=None, compare=False)

    def where(self, format_name: str, device: str) -> str:
        """What errors begin with: the file to correct, or the ``device`` that has none, and the table in it."""
        return f"{self.source or device}: [runners.{format_name}]"


def read_device_runners(table: Table, kind: str) -> dict[str, RunnerProfile]:
    """``[runners]`` of a profile of this kind of device. Raises ProfileError."""
    return _runners(table, [each for each in RUNNERS if not (each == "python" and kind == "adb")])


def read_target_runners(table: Table) -> dict[str, RunnerProfile]:
    """``[runners]`` of a target profile: programs to download, or on every such device. Raises ProfileError."""
    runners = _runners(table, [each for each in RUNNERS if each not in _OWN])
    for format_, runner in runners.items():
        if runner.path is not None or runner.libraries:
            raise ProfileError(
                f'{table.path}: [{table.name}.{format_}] has files of this machine; expected "url" with "sha256", or '
                '"remote": files belong in a device profile'
            )
    return runners


def _runners(table: Table, kinds: Sequence[str]) -> dict[str, RunnerProfile]:
    runners = {format_: _runner(table.table(format_), format_, kinds) for format_ in FORMATS if format_ in table}
    for format_ in FORMATS:
        table.table(format_)
    table.finish()
    return runners


def _runner(table: Table, format_: str, kinds: Sequence[str]) -> RunnerProfile:
    folder = table.path.parent
    fitting = [kind for kind in kinds if format_ in _RUNNER_FORMATS[kind]]
    runner = RunnerProfile(
        kind=table.one_of("kind", fitting),
        path=folder / table.string("path") if "path" in table else None,
        url=table.string("url") if "url" in table else None,
        sha256=table.string("sha256") if "sha256" in table else None,
        remote=table.string("remote") if "remote" in table else None,
        libraries=tuple(folder / each for each in table.strings("libraries", ())),
        source=table.path,
    )
    for key in ("path", "url", "sha256", "remote"):
        table.string(key, "-")
    table.finish()
    _check_source(table, runner)
    return runner


def _check_source(table: Table, runner: RunnerProfile) -> None:
    """One place to take the program from, and nothing downloaded that is not pinned."""
    if runner.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", runner.sha256):
        raise table.error("sha256", "64 lower-case hexadecimal digits")
    if runner.url is not None and not runner.url.startswith(_URL_SCHEMES):
        raise table.error("url", "https://...")
    if runner.url is not None and runner.sha256 is None:
        raise ProfileError(f'{table.path}: "url" in [{table.name}] has no "sha256"; nothing is downloaded unpinned')
    if runner.sha256 is not None and runner.url is None:
        raise ProfileError(f'{table.path}: "sha256" in [{table.name}] is for "url", which is not there')
    if runner.remote is not None and not runner.remote.startswith("/"):
        raise table.error("remote", "an absolute path on the device")
    if sum(each is not None for each in (runner.path, runner.url, runner.remote)) > 1:
        raise ProfileError(
            f'{table.path}: [{table.name}] has more than one of "path", "url" and "remote"; expected one'
        )
