"""Run artifacts on emulated CPUs and hold their outputs against this machine's."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

import onnx_ir as ir

from edgekit.emulation.agreement import Emulated, OutputAgreement, summarize
from edgekit.emulation.cpu import Cpu
from edgekit.emulation.emulator import Emulator, find_qemu, needs_sysroot
from edgekit.emulation.nearness import SourceOutputs, nearness_fault
from edgekit.emulation.output_scales import output_scales
from edgekit.emulation.sysroot import build_sysroot
from edgekit.emulation.tolerance import tolerance
from edgekit.errors import DependencyError, GateError, ModelError
from edgekit.progress import Advance, Progress, Silent
from edgekit.runtimes import Array
from edgekit.runtimes.process import Launch, RuntimeFailedError, RuntimeProcess
from edgekit.verification.adaptation import to_artifact
from edgekit.verification.comparison import Subject

_TIMEOUT_S = 1800.0
"""For one load and one run: an emulator is a hundred times slower than the machine itself."""

Sample = Mapping[str, Array]
Outputs = list[dict[str, Array]]


@dataclass(frozen=True, slots=True)
class EmulationOptions:
    """``sysroot`` replaces the one that edgekit builds; ``announce`` gets a sentence before anything is downloaded.

    ``source`` is the source model, without which no more than one step of difference is let through.
    """

    sysroot: Path | None = None
    source: ir.Model | None = None
    announce: Callable[[str], None] = lambda text: None
    progress: Progress = field(default_factory=Silent)


def emulate(
    subjects: Sequence[Subject],
    samples: Mapping[Subject, Sequence[Sample]],
    cpus: Mapping[Subject, Sequence[Cpu]],
    options: EmulationOptions,
) -> dict[Subject, tuple[Emulated, ...]]:
    """Run every subject on its ``cpus`` and on this machine, on its ``samples`` of the source model's inputs.

    As many emulators work side by side as there are cores. Raises GateError that names every artifact, CPU and output
    that is further from this machine's than edgekit/emulation/tolerance.py allows, or that crashes; DependencyError
    when qemu or a sysroot cannot be had.
    """
    jobs = [(subject, cpu) for subject in dict.fromkeys(subjects) for cpu in cpus[subject]]
    with ExitStack() as stack:
        emulators = _enter_emulators({cpu.name: cpu for _, cpu in jobs}, options, stack)
        total = sum(len(samples[subject]) for subject, _ in jobs)
        advance = stack.enter_context(options.progress.stage("emulating", total))
        native = {s: _run(s, samples[s], None, lambda steps: None) for s in dict.fromkeys(s for s, _ in jobs)}
        source = stack.enter_context(SourceOutputs(options.source))
        bench = _Bench(samples, native, emulators, source, advance)
        results = bench.run(jobs)
    faults = [fault for _, found in results for fault in found]
    if faults:
        raise GateError(f"emulation: {'; '.join(faults)}: do not ship it for such CPUs, or leave this format out")
    done: dict[Subject, list[Emulated]] = {subject: [] for subject in subjects}
    for (subject, _), (emulated, _) in zip(jobs, results, strict=True):
        done[subject] += [emulated] if emulated is not None else []
    return {subject: tuple(found) for subject, found in done.items()}


class _Bench:
    """What the jobs, each in a thread that waits for its own emulator, have in common."""

    def __init__(
        self,
        samples: Mapping[Subject, Sequence[Sample]],
        native: Mapping[Subject, Outputs],
        emulators: Mapping[str, Emulator],
        source: SourceOutputs,
        advance: Advance,
    ) -> None:
        self._samples = samples
        self._native = native
        self._emulators = emulators
        self._source = source
        self._advance = advance

    def run(self, jobs: Sequence[tuple[Subject, Cpu]]) -> list[tuple[Emulated | None, list[str]]]:
        """The result, or what is wrong, of every job, in their order."""
        cores = len(os.sched_getaffinity(0))
        running = _Running()
        with ThreadPoolExecutor(max_workers=max(1, min(cores, len(jobs)))) as pool:
            futures = [pool.submit(self._check, subject, cpu, running) for subject, cpu in jobs]
            try:
                return [future.result() for future in futures]
            except BaseException:
                running.end()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _check(self, subject: Subject, cpu: Cpu, running: "_Running") -> tuple[Emulated | None, list[str]]:
        where = f"{subject.label} on {cpu.name}"
        try:
            emulator = self._emulators[cpu.name]
            outputs = _run(subject, self._samples[subject], emulator.launch, self._advance, running)
        except (ModelError, RuntimeFailedError) as error:
            return None, [f"{where}: {str(error).removeprefix(f'{subject.label}: ')}"]
        except DependencyError as error:
            raise DependencyError(f"in the Python emulated on {cpu.name}: {error}") from error
        compared, note = _compare(subject, cpu, self._native[subject], outputs)
        faults = [f"{where}: {fault}" for output in compared if (fault := output.shortfall()) is not None]
        emulated = summarize(cpu.name, len(outputs), compared, () if note is None else (note,))
        if faults or not any(output.is_added for output in compared):
            return emulated, faults
        lost = self._source.lost_db(subject, self._samples[subject], self._native[subject], outputs)
        fault = nearness_fault(lost)
        return replace(emulated, lost_db=lost), [] if fault is None else [f"{where}: {fault} ({emulated.notes[0]})"]


class _Running:
    """The emulators of all threads: whoever interrupts the wait ends them, and those that are about to start."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._processes: list[RuntimeProcess] = []
        self._ended = False

    def start(self, process: RuntimeProcess) -> None:
        """Start one; at once killed where all have been ended, so that who waits for it gets an error."""
        process.start()
        with self._lock:
            self._processes.append(process)
            ended = self._ended
        if ended:
            process.kill()

    def end(self) -> None:
        """Kill all."""
        with self._lock:
            self._ended = True
        for process in self._processes:
            process.kill()


def _enter_emulators(cpus: Mapping[str, Cpu], options: EmulationOptions, stack: ExitStack) -> dict[str, Emulator]:
    emulators = {}
    for name, cpu in cpus.items():
        find_qemu(cpu.machine)  # before anything is downloaded
        sysroot = options.sysroot
        if needs_sysroot(cpu) and sysroot is None:
            sysroot = build_sysroot(cpu.machine, announce=options.announce, progress=options.progress)
        emulators[name] = stack.enter_context(Emulator(cpu, sysroot if needs_sysroot(cpu) else None))
    return emulators


def _run(
    subject: Subject,
    samples: Sequence[Sample],
    launch: Launch | None,
    advance: Advance,
    running: _Running | None = None,
) -> Outputs:
    process = RuntimeProcess(
        subject.format,
        subject.path,
        timeout=_TIMEOUT_S,
        label=subject.label,
        precision=subject.precision,
        launch=launch,
    )
    outputs = []
    with closing(process):
        if running is not None:
            running.start(process)
        process.__enter__()
        for sample in samples:
            outputs.append(process.run(to_artifact(sample, subject.interface)))
            advance(1)
    return outputs


def _compare(
    subject: Subject, cpu: Cpu, native: Outputs, emulated: Outputs
) -> tuple[list[OutputAgreement], str | None]:
    """Every output, and what is unusual about the limits."""
    scales, limits = output_scales(subject.path, subject.format), tolerance(subject, cpu)
    compared = [OutputAgreement(spec, scales.get(spec.name), limits) for spec in subject.interface.outputs]
    for ours, theirs in zip(native, emulated, strict=True):
        for output in compared:
            output.update(ours[output.name], theirs[output.name])
    return compared, limits.note
