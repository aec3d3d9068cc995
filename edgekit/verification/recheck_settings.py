"""What a user may set of ``edgekit verify``, checked and typed once for the command line and the Python API."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Self, TypedDict

from edgekit.emulation.cpu import Cpu, find_cpu
from edgekit.errors import UsageError, nearest
from edgekit.progress import Progress, Silent
from edgekit.settings import DataPath


def _say_nothing(text: str) -> None:
    return None


class VerifyKeywords(TypedDict, total=False):
    """The keyword arguments of :func:`edgekit.verify`; each is the flag of the same name.

    data: samples to compare on, labelled or not, instead of those that the manifest names.
    model: where the source model is, when it is not where the manifest says.
    hashes_only: do not compare with the source model.
    emulate: also run the artifacts on the emulated CPUs of their targets.
    cpu: emulate these, or this one, instead: ``"cortex-a53"``, ``"cortex-a76"``, ``"i8mm"``, ``"haswell"``.
    target: only the artifacts of these targets, or of this one.
    samples: compare on N samples, spread evenly over the data (all by default; a few in the emulator).
    sysroot: a folder with the emulated machine's Python and runtimes, instead of the one that is built once.
    threads: threads of the runtimes of this machine.
    progress: told of each stage.
    announce: told, in a sentence, of a download before it begins.
    """

    data: DataPath | None
    model: str | PathLike[str] | None
    hashes_only: bool
    emulate: bool
    cpu: str | Sequence[str] | None
    target: str | Sequence[str] | None
    samples: int | None
    sysroot: str | PathLike[str] | None
    threads: int | None
    progress: Progress
    announce: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class VerifySettings:
    """The checked settings of one verification; see :class:`VerifyKeywords`."""

    data: str | None
    model: Path | None
    hashes_only: bool
    emulate: bool
    cpus: tuple[Cpu, ...]
    targets: tuple[str, ...]
    samples: int | None
    sysroot: Path | None
    threads: int
    progress: Progress
    announce: Callable[[str], None]

    @classmethod
    def of(cls, keywords: VerifyKeywords) -> Self:
        """Check ``keywords``. Raises UsageError."""
        unknown = sorted(set(keywords) - set(VerifyKeywords.__annotations__))
        if unknown:
            raise UsageError(f'unknown argument "{unknown[0]}"{nearest(unknown[0], VerifyKeywords.__annotations__)}')
        data, model, sysroot = keywords.get("data"), keywords.get("model"), keywords.get("sysroot")
        cpus = tuple(find_cpu(name) for name in _several(keywords.get("cpu")))
        settings = cls(
            data=None if data is None else fspath(data),
            model=None if model is None else Path(model),
            hashes_only=bool(keywords.get("hashes_only", False)),
            emulate=bool(keywords.get("emulate", False)) or bool(cpus),
            cpus=cpus,
            targets=_several(keywords.get("target")),
            samples=_at_least_one("samples", keywords.get("samples")),
            sysroot=None if sysroot is None else Path(sysroot),
            threads=_at_least_one("threads", keywords.get("threads")) or 1,
            progress=keywords.get("progress") or Silent(),
            announce=keywords.get("announce") or _say_nothing,
        )
        settings._refuse_contradictions()
        return settings

    def _refuse_contradictions(self) -> None:
        if self.hashes_only and self.model is not None:
            raise UsageError("--hashes-only compares with no source model; leave --model out")
        if self.hashes_only and self.data is not None and not self.emulate:
            raise UsageError("--hashes-only runs nothing on --data; leave one of them out")
        if self.sysroot is not None and not self.emulate:
            raise UsageError("--sysroot is for --emulate, which is not asked for")
        if self.sysroot is not None and not self.sysroot.is_dir():
            raise UsageError(f"--sysroot {self.sysroot}: no such folder; leave it out to have one built")


def _at_least_one(flag: str, value: int | None) -> int | None:
    if value is not None and (not isinstance(value, int) or value < 1):
        raise UsageError(f"--{flag} {value}: expected a whole number, at least 1")
    return value


def _several(names: str | Sequence[str] | None) -> tuple[str, ...]:
    """Each once, in their order."""
    return tuple(dict.fromkeys([names] if isinstance(names, str) else names or ()))
