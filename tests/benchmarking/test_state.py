import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.benchmarking.executors import open_executor
from edgekit.benchmarking.results import State
from edgekit.benchmarking.state import STATE_SCRIPT, parse_state, snapshot
from edgekit.profiles.device import load_device

RECORDED = Path(__file__).parent / "recorded" / "state"
SHELLS = (["dash"], ["bash"], ["mksh"], ["busybox", "sh"])


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text()


def test_a_phone_tells_everything() -> None:
    assert parse_state(recorded("pixel"), [6, 7]) == State(
        governor="performance",
        frequency_mhz=2802.0,
        temperature_c=61.0,
        thermal_status=1,
        battery_percent=86,
        load_average=3.51,
    )


def test_without_pinned_cores_all_of_them_count() -> None:
    state = parse_state(recorded("pixel"), [])
    assert (state.governor, state.frequency_mhz) == ("performance+sched_pixel", 1803.0)


def test_a_phone_whose_files_are_locked_tells_by_its_services() -> None:
    state = parse_state(recorded("locked_phone"), [6, 7])
    assert state == State(temperature_c=61.0, thermal_status=1, battery_percent=86)


def test_a_board_has_no_battery_and_no_status() -> None:
    assert parse_state(recorded("raspberry_pi"), [0, 1, 2, 3]) == State("ondemand", 1500.0, 48.686, None, None, 0.12)


def test_a_laptop_has_sensors_of_other_things_beside_those_of_its_processor() -> None:
    assert parse_state(recorded("laptop"), [0]) == State("powersave", 3400.112, 58.0, None, 64, 1.02)


def test_a_virtual_machine_tells_nothing_but_its_load() -> None:
    assert parse_state(recorded("virtual_machine"), [0, 1]) == State(load_average=0.71)


@pytest.mark.parametrize(
    ("zones", "expected"),
    [
        (["cpu-thermal:48000"], 48.0),
        (["cpu-thermal:48"], 48.0),
        (["mtktscpu:485"], 48.5),
        (["cpu-0-0-usr:51000", "cpu-1-0-usr:53000", "gpu-usr:90000"], 53.0),
        (["soc:100", "socd:95"], None),
        (["soc-thermal:41000", "battery:30000"], 41.0),
        (["cpu-thermal:40000", "soc-thermal:90000"], 40.0),
        (["cpu-thermal:-273000"], None),
        (["cpu-thermal:999000"], None),
        (["cpu-thermal:nan", "cpu2:garbage", "cpu3"], None),
        (["with:colon:cpu:42000"], 42.0),
    ],
)
def test_the_hottest_zone_of_the_processor_counts(zones: list[str], expected: float | None) -> None:
    assert parse_state("\n".join(f"zone={zone}" for zone in zones), []).temperature_c == expected


@given(st.text())
@settings(deadline=None)
def test_garbage_has_no_state(text: str) -> None:
    assert isinstance(parse_state(text, [0]), State)


KEYS = st.sampled_from(["governor", "khz", "zone", "capacity", "load", "thermalservice", "battery"])
VALUES = st.one_of(
    st.text(alphabet="0123456789 :-.eEnaif{}=,mTyp", max_size=20),
    st.sampled_from(
        [
            "0 nan",
            "0 inf",
            "level: x",
            "level: -1",
            "scale: 0",
            "cpu:1e999",
            "Thermal Status: 9",
            f"Thermal Status: {'9' * 5000}",
        ]
    ),
)


@given(st.lists(st.tuples(KEYS, VALUES)))
@settings(deadline=None)
def test_values_that_make_no_sense_are_no_state(lines: list[tuple[str, str]]) -> None:
    state = parse_state("\n".join(f"{key}={value}" for key, value in lines), [0])
    assert state.temperature_c is None or -40 < state.temperature_c < 150
    assert state.battery_percent is None or 0 <= state.battery_percent <= 100
    assert all(value == value and value not in (float("inf"), float("-inf")) for value in asdict(state).values())


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_every_shell_runs_the_script(shell: list[str]) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    found = subprocess.run([*shell, "-c", STATE_SCRIPT], capture_output=True, text=True, timeout=60, check=True)
    assert found.stderr == ""
    assert found.stdout.endswith("end=state\n")
    if Path("/proc/loadavg").exists():
        assert parse_state(found.stdout, []).load_average is not None


def test_the_script_reads_what_android_and_linux_have(tmp_path: Path) -> None:
    """The script on a tree of files like those of a phone, with a ``dumpsys`` like the phone's."""
    core = tmp_path / "sys/devices/system/cpu/cpu7/cpufreq"
    core.mkdir(parents=True)
    (core / "scaling_governor").write_text("schedutil\n")
    (core / "scaling_cur_freq").write_text("2802000\n")
    for number, (kind, value) in enumerate([("BIG", "61000"), ("battery", "30000"), ("broken", "")]):
        zone = tmp_path / f"sys/class/thermal/thermal_zone{number}"
        zone.mkdir(parents=True)
        (zone / "type").write_text(f"{kind}\n")
        (zone / "temp").write_text(value)
    for name, kind, scope, capacity in (("mouse", "Battery", "Device", 3), ("BAT0", "Battery", "System", 64)):
        supply = tmp_path / f"sys/class/power_supply/{name}"
        supply.mkdir(parents=True)
        for file, text in (("type", kind), ("scope", scope), ("capacity", capacity)):
            (supply / file).write_text(f"{text}\n")
    dumpsys = tmp_path / "dumpsys"
    dumpsys.write_text('#!/bin/sh\n[ "$1" = thermalservice ] && echo "Thermal Status: 2"\ntrue\n')
    dumpsys.chmod(0o755)
    script = STATE_SCRIPT.replace("/sys/", f"{tmp_path}/sys/")
    shell = ["sh", "-c", f'PATH="{tmp_path}:$PATH"\n{script}']
    found = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=True)
    state = parse_state(found.stdout, [7])
    assert (state.governor, state.frequency_mhz, state.temperature_c) == ("schedutil", 2802.0, 61.0)
    assert (state.thermal_status, state.battery_percent) == (2, 64)


def test_this_machine_has_a_state() -> None:
    with open_executor(load_device("local")) as executor:
        state = snapshot(executor, executor.facts.cores)
    assert (state.load_average is not None) == Path("/proc/loadavg").exists()
