import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.benchmarking.executors import Completed, open_executor
from edgekit.benchmarking.probe import MAXIMUM_SLOWDOWN, PROBE_SCRIPT, Probe
from edgekit.benchmarking.shell import parse_values, seconds
from edgekit.profiles.device import load_device
from tests.benchmarking.fakes import FakeExecutor
from tests.benchmarking.test_state import SHELLS


def probe(*seconds_: float) -> Probe:
    found = Probe.calibrated(FakeExecutor(probe_seconds=list(seconds_)), (), 1)
    assert found is not None
    return found


def test_the_work_is_sized_to_a_fraction_of_a_second() -> None:
    # 5,000 steps take 1 ms, 20,000 take 4 ms, 80,000 take 16 ms, 320,000 take 64 ms.
    assert probe(0.001, 0.004, 0.016, 0.064, 0.1).steps == pytest.approx(500_000)


def test_a_fast_answer_is_enough() -> None:
    assert probe(0.1, 0.1, 0.105, 9.0).slowdown() == pytest.approx(1.05)


def test_the_fastest_of_all_repeats_counts() -> None:
    assert probe(0.1, 0.1, 0.3, 0.12).slowdown() == pytest.approx(1.2)
    assert probe(0.1, 0.1, 0.13, 0.2).slowdown() == pytest.approx(1.3)


@pytest.mark.parametrize(
    "output", ["", "probe=N N\n", "probe=5 3\n", "probe=nan nan\n", "probe=7 7\n", "sh: syntax error\n"]
)
def test_a_shell_that_cannot_tell_the_time_has_no_probe(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = FakeExecutor()
    monkeypatch.setattr(executor, "run", lambda command, timeout: Completed(0, output, ""))
    assert Probe.calibrated(executor, (), 1) is None


@given(st.integers(0, 2**62), st.integers(0, 10**9))
@settings(deadline=None)
def test_moments_of_both_clocks_are_understood(start: int, duration: int) -> None:
    took = (seconds(str(start + duration)) or 0) - (seconds(str(start)) or 0)
    assert took == pytest.approx(duration / 1e9, abs=1e-6 + 1e-15 * start)
    assert seconds("12793.73s") == 12793.73 and seconds("s") is None and seconds("%N") is None


@pytest.mark.parametrize("clock", ["", "uptime"], ids=["any clock", "coarse clock"])
@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_every_shell_does_the_work(shell: list[str], clock: str) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    if not Path("/proc/uptime").exists():
        pytest.skip("this system has no /proc/uptime")
    command = [*shell, "-c", PROBE_SCRIPT, "sh", "2000", "2", "3"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=_environment(clock))
    assert found.stderr == ""
    lines = [text.split() for text in parse_values(found.stdout)["probe"]]
    assert sorted(repeat for _, _, repeat in lines) == ["0", "0", "1", "1", "2", "2"]
    assert all((seconds(start) or 0) <= (seconds(end) or 0) for start, end, _ in lines)
    assert parse_values(found.stdout)["clock"] in (((clock,),) if clock else (("schedstat",), ("date",), ("uptime",)))


def test_of_several_copies_the_slowest_counts_and_of_repeats_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["probe=0 100000000 0", "probe=5 300000005 0", "probe=0 200000000 1", "probe=0 150000000 1", "clock=date"]
    executor = FakeExecutor()
    monkeypatch.setattr(executor, "run", lambda command, timeout: Completed(0, "\n".join(lines), ""))
    found = Probe.calibrated(executor, (), 2)
    assert found is not None and found.before_s == pytest.approx(0.2)


def _environment(clock: str) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin"} | ({"CLOCK": clock} if clock else {})


def test_a_slower_machine_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that was ten times as fast before."""
    monkeypatch.setattr("edgekit.benchmarking.probe._DURATION_S", 0.02)
    with open_executor(load_device("local")) as executor:
        found = Probe.calibrated(executor, (), 1)
        assert found is not None and found.before_s > 0
        slowdown = replace(found, before_s=found.before_s / 10).slowdown()
    assert slowdown is not None and slowdown > MAXIMUM_SLOWDOWN
