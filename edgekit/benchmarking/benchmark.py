"""``edgekit.benchmark``: the whole flow from artifacts and a device to a report."""

import logging
import platform
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from os import PathLike
from pathlib import Path
from typing import Unpack

import edgekit
from edgekit.benchmarking.accelerators import applies, choose_accelerator
from edgekit.benchmarking.cores import choose_cores
from edgekit.benchmarking.executors import Executor, open_executor
from edgekit.benchmarking.promises import Promises
from edgekit.benchmarking.protocol import Observers, measure
from edgekit.benchmarking.report_file import ReportFile
from edgekit.benchmarking.results import Journal, Report
from edgekit.benchmarking.runners import Prepared
from edgekit.benchmarking.runners.choice import default_runner
from edgekit.benchmarking.schedule import Schedule
from edgekit.benchmarking.settings import BenchmarkKeywords, BenchmarkSettings
from edgekit.benchmarking.subjects import Artifact, Subject, is_artifact, matching_artifact, resolve_artifacts
from edgekit.errors import DeviceError, GateError, HistoryError, ModelError, UsageError
from edgekit.history.store import History, default_path
from edgekit.profiles.device import Device, load_device
from edgekit.profiles.target import Target, load_target

_PACKAGES = ("ai-edge-litert", "tflite-runtime", "onnxruntime", "MNN", "numpy")

_log = logging.getLogger("edgekit")


def benchmark(
    artifacts: str | PathLike[str] | Sequence[str | PathLike[str]], **keywords: Unpack[BenchmarkKeywords]
) -> Report:
    """Measure ``artifacts`` (files, manifests or folders of exports); see :class:`BenchmarkKeywords`.

    Raises UsageError, ModelError, ProfileError or DependencyError for what cannot be used, DeviceError when the device
    or a program fails, and GateError when an artifact is less accelerated than promised. ``out`` and ``journal`` have
    what was measured until then.
    """
    settings = BenchmarkSettings.of(keywords)
    device = load_device(settings.device)
    chosen = _artifacts([artifacts] if isinstance(artifacts, str | PathLike) else artifacts, settings)
    target = _target(device, settings)
    device = _with_programs(device, target)
    journal = _journal(settings)
    with ExitStack() as stack:
        with settings.progress.stage(f"connecting to {device.name}"):
            executor = stack.enter_context(open_executor(device))
        schedule = _schedule(executor, device, settings)
        draft = _draft(executor, schedule, settings)
        subjects = _subjects(chosen, executor, device, target, settings)
        promises = Promises(device.name, device.kind == "local", target)
        with _naming_local_files(subjects):
            return measure(executor, subjects, schedule, draft, Observers(journal, promises, settings.progress))


def _artifacts(arguments: Sequence[str | PathLike[str]], settings: BenchmarkSettings) -> list[Artifact]:
    """The artifacts in the order in which they are reported: the baseline first."""
    target = None if settings.target is None else Path(settings.target).stem
    artifacts = resolve_artifacts([Path(argument) for argument in arguments], settings.runtime, target)
    if settings.compare is not None:
        if not is_artifact(settings.compare):
            raise UsageError(
                f"--compare {settings.compare}: expected an artifact or an export to measure beside the others; "
                "edgekit history compares recorded runs"
            )
        baseline = matching_artifact(settings.compare, artifacts[0])
        if any(baseline.path.resolve() == artifact.path.resolve() for artifact in artifacts):
            raise UsageError(f"--compare {settings.compare}: {baseline.path} is among the artifacts already")
        artifacts = [baseline, *artifacts]
    return artifacts


def _target(device: Device, settings: BenchmarkSettings) -> Target | None:
    name = settings.target or device.target
    return None if name is None else load_target(name)


def _with_programs(device: Device, target: Target | None) -> Device:
    """The device, with the target profile's programs for the formats that its own profile names none for."""
    if target is None or device.kind == "local":
        return device
    return replace(device, runners={**target.runners, **device.runners})


def _schedule(executor: Executor, device: Device, settings: BenchmarkSettings) -> Schedule:
    threads = settings.threads or device.threads
    schedule = Schedule.full(threads, choose_cores(executor, device, threads), device.cool_down_s)
    schedule = replace(schedule, profile=settings.profile)
    schedule = schedule.quick() if settings.quick else schedule
    return schedule if settings.duration is None else schedule.lasting(settings.duration)


def _draft(executor: Executor, schedule: Schedule, settings: BenchmarkSettings) -> Report:
    """The report without results."""
    now = datetime.now(UTC)
    return Report(
        run_id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
        started=now.isoformat(timespec="seconds"),
        device=executor.facts,
        results=(),
        settings=settings.to_json() | schedule.to_json(),
        environment=_environment(),
    )


def _journal(settings: BenchmarkSettings) -> Journal:
    """Writes the file of ``--out`` and the history, then tells the caller."""
    journals: list[Journal] = []
    if settings.out is not None:
        file = ReportFile(settings.out)
        file.require_writable()
        journals.append(_Writer(file).write)
    if settings.history:
        journals.append(_Recorder().record)
    if settings.journal is not None:
        journals.append(settings.journal)

    def journal(report: Report) -> None:
        for each in journals:
            each(report)

    return journal


class _Writer:
    """Writes the file of ``--out``; a disk that fills up ends no measurement, and may have room again later."""

    def __init__(self, file: ReportFile) -> None:
        self._file = file
        self._warned = False

    def write(self, report: Report) -> None:
        try:
            self._file.write(report)
        except UsageError as error:
            if not self._warned:
                _log.warning("%s; measuring goes on", error)
            self._warned = True


class _Recorder:
    """Records in the history; figures that took an hour are not lost because that cannot be written."""

    def __init__(self) -> None:
        self._failed = False

    def record(self, report: Report) -> None:
        if self._failed:
            return
        try:
            History(default_path()).record(report)
        except HistoryError as error:
            self._failed = True
            _log.warning("not recorded in the history: %s", error)


def _subjects(
    artifacts: Sequence[Artifact],
    executor: Executor,
    device: Device,
    target: Target | None,
    settings: BenchmarkSettings,
) -> list[Subject]:
    """Every artifact on the device, with the program that measures it there."""
    prepared: dict[str, Prepared] = {}
    subjects = []
    with settings.progress.stage(f"preparing {device.name}", len(artifacts)) as advance:
        for artifact in artifacts:
            if artifact.format not in prepared:
                runner = default_runner(device, artifact.format)
                prepared[artifact.format] = runner.prepare(executor, device, artifact.format)
            program = prepared[artifact.format]
            delegate = choose_accelerator(artifact, program.name, device, target, settings.delegate)
            subjects.append(Subject(artifact, program, executor.push(artifact.path), delegate))
            advance(1)
    asked = settings.delegate
    if asked is not None and not any(applies(each.artifact, each.prepared.name, asked) for each in subjects):
        raise UsageError(f"--delegate {asked}: it applies to none of the artifacts on {device.name}; leave it out")
    return subjects


@contextmanager
def _naming_local_files(subjects: Sequence[Subject]) -> Iterator[None]:
    """Errors of what runs on a device name its copies; the user knows the files here."""
    try:
        yield
    except (ModelError, GateError, DeviceError) as error:
        words = str(error)
        for subject in subjects:
            words = words.replace(subject.remote, str(subject.artifact.path))
        if words == str(error):
            raise
        raise type(error)(words) from error


def _environment() -> dict[str, str]:
    found = {"edgekit": edgekit.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
