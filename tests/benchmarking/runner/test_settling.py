"""When a model has warmed up and when it has been measured enough, on a clock that only the model moves."""

import argparse
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edgekit.benchmarking.runner
from edgekit.benchmarking.runner import runner

MS = 1_000_000
SOURCES = Path(edgekit.benchmarking.runner.__file__).parent


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here")
    path = tmp_path_factory.mktemp("settling") / "settling"
    sources = [Path(__file__).with_name("settling.c"), SOURCES / "measure.c", SOURCES / "process.c"]
    subprocess.run([compiler, "-std=c11", "-O1", "-I", SOURCES, *sources, "-o", path, "-lm"], check=True)
    return path


def in_python(monkeypatch: pytest.MonkeyPatch, limits: Sequence[float], durations: Sequence[int]) -> list[int]:
    clock = [0]
    left = list(durations)

    def run() -> None:
        clock[0] += left.pop(0) if len(left) > 1 else left[0]

    warmup_s, min_runs, min_s, max_s, max_runs = limits
    options = argparse.Namespace(min_runs=min_runs, min_s=min_s, max_s=max_s, max_runs=max_runs)
    with monkeypatch.context() as context:
        context.setattr(time, "perf_counter_ns", lambda: clock[0])
        engine = runner.Engine()
        engine.run = run
        runner.time_once(engine)
        runs, settled = runner.warm_up(engine, warmup_s)
        return [runs, settled, len(runner.timed_runs(engine, options))]


def in_c(harness: Path, limits: Sequence[float], durations: Sequence[int]) -> list[int]:
    words = [str(number) for number in (*limits, *durations)]
    done = subprocess.run([harness, *words], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize(
    ("limits", "durations", "wanted"),
    [
        # Steady from the start: two windows of 50 ms.
        ((5, 3, 0, 60, 99), [10 * MS], [10, 1, 3]),
        # A window has at least 5 runs, however long they take.
        ((5, 3, 0, 60, 99), [100 * MS], [10, 1, 3]),
        # Two runs make a window of a model that takes more than 200 ms.
        ((60, 1, 0, 60, 99), [250 * MS], [4, 1, 1]),
        # The warm-up lasts until two windows fit, whatever its time: a slow model settles, too.
        ((2, 1, 0, 60, 99), [3000 * MS], [4, 1, 1]),
        ((0.05, 1, 0, 60, 99), [150 * MS], [10, 1, 1]),
        # But not longer when the second window does not agree.
        ((2, 1, 0, 60, 99), [3000 * MS] * 3 + [4000 * MS], [4, 0, 1]),
        # The second window is 10 % faster, the third like the second.
        ((5, 1, 0, 60, 99), [10 * MS] * 6 + [9 * MS], [5 + 6 + 6, 1, 1]),
        # Slower and slower: never settled, ends after its time.
        ((1, 1, 0, 60, 99), [int(MS * 10 * 1.1**number) for number in range(60)], [25, 0, 1]),
        # No warm-up.
        ((0, 7, 0, 60, 99), [MS], [0, 0, 7]),
        # As many runs as asked, or more until min_s.
        ((0, 4, 0.1, 60, 999), [MS], [0, 0, 100]),
        # Not longer than max_s, but once.
        ((0, 1000, 0.1, 0.05, 999), [MS], [0, 0, 50]),
        ((0, 1000, 0.1, 0.05, 999), [1000 * MS], [0, 0, 1]),
        # A fast model stops at max_runs: a minute of runs would be a long list.
        ((0, 4, 60, 60, 30), [MS], [0, 0, 30]),
        ((0, 40, 0, 60, 30), [MS], [0, 0, 30]),
    ],
)
def test_known_cases(limits, durations, wanted, harness, monkeypatch):
    assert in_python(monkeypatch, limits, durations) == wanted
    assert in_c(harness, limits, durations) == wanted


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    warmup_ms=st.integers(0, 3000),
    min_runs=st.integers(1, 60),
    min_ms=st.integers(0, 400),
    max_ms=st.integers(0, 800),
    max_runs=st.integers(1, 100),
    durations=st.lists(st.integers(1000, 1300 * 1000), min_size=1, max_size=80),
)
def test_both_programs_agree(warmup_ms, min_runs, min_ms, max_ms, max_runs, durations, harness, monkeypatch):
    limits = (warmup_ms / 1000, min_runs, min_ms / 1000, max_ms / 1000, max_runs)
    durations = [duration * 1000 for duration in durations]
    assert in_python(monkeypatch, limits, durations) == in_c(harness, limits, durations)
