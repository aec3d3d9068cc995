"""What the benchmarks share: where the models are, medians of interleaved runs, memory of processes, tables."""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def parser(description: str) -> argparse.ArgumentParser:
    """Arguments that every benchmark has."""
    parsed = argparse.ArgumentParser(description=description)
    parsed.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="folder with models/ and data/")
    return parsed


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Markdown; numbers with the digits that matter."""
    print(f"\n{title}\n")
    for line in (columns, ["---"] * len(columns), *rows):
        print("| " + " | ".join(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in line) + " |")
    sys.stdout.flush()


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one of several things that were run in turn."""

    median: float
    p90: float


def interleaved(runs: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 20) -> dict[str, Timing]:
    """Run each once per round, in an order that changes, so that what else the machine does hits all alike."""
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for index in range(-warmup, rounds):
        for name in names if index % 2 else reversed(names):
            start = time.perf_counter()
            runs[name]()
            if index >= 0:
                seconds[name].append(time.perf_counter() - start)
    return {
        name: Timing(1e3 * statistics.median(each), 1e3 * statistics.quantiles(each, n=10)[-1])
        for name, each in seconds.items()
    }


@dataclass(frozen=True)
class Cost:
    """Of a command: seconds, and MB of all its processes together (PSS: shared pages count once)."""

    seconds: float
    peak_mb: float


def cost(command: Sequence[str]) -> Cost:
    """Run a command to its end; memory is looked at every 20 ms."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(_pss_kb(pid) for pid in _family(process.pid)))
        time.sleep(0.02)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}: {process.stderr.read()[-2000:]}")
    return Cost(seconds, peak / 1024)


def _family(pid: int) -> list[int]:
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [int(each) for task in tasks for each in (task / "children").read_text().split()]
    except OSError:
        return [pid]
    return [pid, *(member for child in children for member in _family(child))]


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
