"""Does a measurement say the same tomorrow? The protocol of ``edgekit benchmark`` against a mean of ten runs.

Each try measures the ratio of two artifacts twice with the protocol, and twice in the way that is usual: ten runs of
one in a fresh process, then ten runs of the other, and the ratio of the means. A try agrees when its two ratios differ
by at most 5 %. ``--noise`` keeps this machine busy meanwhile, in bursts on random cores.
"""

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import measurement

from edgekit.benchmarking.benchmark import benchmark
from edgekit.benchmarking.cores import choose_cores, pinned
from edgekit.benchmarking.executors import open_executor
from edgekit.benchmarking.runners import Limits, Workload
from edgekit.benchmarking.runners.choice import default_runner
from edgekit.benchmarking.subjects import resolve_artifacts
from edgekit.profiles.device import load_device

AGREEMENT = 0.05
WANTED = 0.9
NAIVE_RUNS = 10
NAIVE_LIMITS = Limits(warmup_s=0.0, min_runs=NAIVE_RUNS, min_s=0.0, max_s=60.0)

# Bursts shorter and longer than a trial, for at most an hour, whatever becomes of the process that started them.
BURST_S = (0.02, 3.0)
PAUSE_S = (0.02, 3.0)
NOISE_ENDS_AFTER_S = 3600.0

DEVICE = """
description = "This machine, which is noisy rather than hot"
kind = "local"
cool_down_s = 1
"""

Measure = Callable[[], float]
"""Gives the ratio of the second artifact's time to the first one's."""


def main() -> int:
    """Print a table of all tries and both tallies; 1 when the protocol agrees too seldom."""
    arguments = _arguments()
    models = arguments.shared / "models"
    artifacts = arguments.artifacts or [models / "resnet8_cifar10_float.tflite", models / "resnet8_cifar10_int8.tflite"]
    with tempfile.TemporaryDirectory(prefix="edgekit-repeatability-") as folder, _noise(arguments.noise):
        device = Path(folder, "noisy.toml")
        device.write_text(DEVICE)
        ways = {
            "protocol": lambda: _protocol_ratio(artifacts, str(device), arguments.quick),
            f"mean of {NAIVE_RUNS}": lambda: _naive_ratio(artifacts, str(device)),
        }
        tries = [_measure_twice(ways, number) for number in range(1, arguments.tries + 1)]
    return _report(tries)


def _arguments() -> argparse.Namespace:
    parser = measurement.parser(__doc__.partition("\n")[0])
    parser.add_argument("artifacts", nargs="*", type=Path, help="two artifacts; by default ResNet-8 in float and int8")
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument(
        "--quick", action="store_true", help="the protocol's quick form (about 10 minutes for 10 tries)"
    )
    parser.add_argument("--noise", action="store_true", help="keep the machine busy in bursts on random cores")
    arguments = parser.parse_args()
    if len(arguments.artifacts) not in (0, 2):
        parser.error("expected two artifacts, or none")
    return arguments


def _protocol_ratio(artifacts: Sequence[Path], device: str, quick: bool) -> float:
    return benchmark(artifacts, device=device, quick=quick, history=False).results[1].ratio


def _naive_ratio(artifacts: Sequence[Path], device_name: str) -> float:
    device = load_device(device_name)
    means = []
    with open_executor(device) as executor:
        cores = choose_cores(executor, device, 1)
        for artifact in resolve_artifacts(artifacts):
            prepared = default_runner(device, artifact.format).prepare(executor, device, artifact.format)
            delegate = "xnnpack" if artifact.format == "tflite" else None
            workload = Workload(artifact.format, executor.push(artifact.path), 1, NAIVE_LIMITS, delegate, cores)
            completed = executor.run(pinned(prepared.command(workload), cores), timeout=300)
            means.append(prepared.parse(completed, workload).mean_ms)
    return means[1] / means[0]


def _measure_twice(ways: dict[str, Measure], number: int) -> dict[str, tuple[float, float]]:
    found = {name: (measure(), measure()) for name, measure in ways.items()}
    told = ", ".join(f"{name} {first:.4g} and {second:.4g}" for name, (first, second) in found.items())
    print(f"try {number}: {told}", file=sys.stderr, flush=True)
    return found


def _difference(ratios: tuple[float, float]) -> float:
    return abs(ratios[1] / ratios[0] - 1)


def _report(tries: Sequence[dict[str, tuple[float, float]]]) -> int:
    ways = list(tries[0])
    columns = ["try"] + [column for name in ways for column in (f"{name}, first", "again", "difference %")]
    rows = [
        [number, *(cell for way in ways for cell in (*found[way], 100 * _difference(found[way])))]
        for number, found in enumerate(tries, start=1)
    ]
    measurement.print_table("Ratio of the second artifact to the first, measured twice", columns, rows)
    agreeing = {way: sum(_difference(found[way]) <= AGREEMENT for found in tries) for way in ways}
    tally = [[way, f"{count} of {len(tries)}"] for way, count in agreeing.items()]
    measurement.print_table(f"Tries that agree within {AGREEMENT:.0%}", ["", "agree"], tally)
    return 0 if agreeing[ways[0]] >= WANTED * len(tries) else 1


@contextmanager
def _noise(wanted: bool) -> Iterator[None]:
    """Another process that works in bursts, for the time of the context."""
    if not wanted:
        yield
        return
    process = multiprocessing.get_context("spawn").Process(target=_burst, args=(os.getpid(),), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _burst(parent: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    end = time.monotonic() + NOISE_ENDS_AFTER_S
    while time.monotonic() < end and os.getppid() == parent:
        os.sched_setaffinity(0, {random.choice(cores)})
        until = time.monotonic() + random.uniform(*BURST_S)
        while time.monotonic() < until:
            pass
        time.sleep(random.uniform(*PAUSE_S))


if __name__ == "__main__":
    raise SystemExit(main())
