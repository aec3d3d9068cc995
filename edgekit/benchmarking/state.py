"""Governor, frequencies, temperatures, battery, load: what a figure depends on, read by one script in the shell."""

import re
from collections.abc import Iterator, Sequence

from edgekit.benchmarking.executors import Executor
from edgekit.benchmarking.results import State
from edgekit.benchmarking.shell import Values, first, number, parse_values

STATE_SCRIPT = r"""
value() { text=; { read -r text < "$2"; } 2>/dev/null; [ -n "$text" ] && echo "$1=$3$text"; }
for core in /sys/devices/system/cpu/cpu[0-9]*; do
  value governor "$core/cpufreq/scaling_governor" "${core##*cpu} "
  value khz "$core/cpufreq/scaling_cur_freq" "${core##*cpu} "
done
for zone in /sys/class/thermal/thermal_zone*; do
  kind=
  { read -r kind < "$zone/type"; } 2>/dev/null
  [ -n "$kind" ] && value zone "$zone/temp" "$kind:"
done
for chip in /sys/class/hwmon/hwmon*; do
  kind=
  { read -r kind < "$chip/name"; } 2>/dev/null
  [ -n "$kind" ] && value zone "$chip/temp1_input" "$kind:"
done
for supply in /sys/class/power_supply/*; do
  kind= scope=
  { read -r kind < "$supply/type"; } 2>/dev/null
  { read -r scope < "$supply/scope"; } 2>/dev/null
  [ "$kind" = Battery ] && [ "$scope" != Device ] && value capacity "$supply/capacity"
done
value load /proc/loadavg
if command -v dumpsys >/dev/null 2>&1; then
  dumpsys thermalservice 2>/dev/null | sed 's/^/thermalservice=/'
  dumpsys battery 2>/dev/null | sed 's/^/battery=/'
fi
echo "end=state"
"""

TIMEOUT_S = 30.0
"""``dumpsys`` of a busy phone takes seconds."""

_PROCESSOR = re.compile(r"cpu|pkg|cluster|coretemp|k10temp|zenpower|^(big|mid|little|lit)$", re.IGNORECASE)
# Names for the whole chip; not the plain "soc" and "socd" of Qualcomm, which are the battery's state of charge.
_CHIP = re.compile(r"^soc[-_]?thermal|^soc[-_]?max|^acpitz|^tsens_tz", re.IGNORECASE)

_TEMPERATURES_C = (-40.0, 150.0)
_ANDROID_ZONE = re.compile(r"Temperature\{mValue=(?P<value>[-0-9.eE]+), *mType=(?P<type>\d+), *mName=(?P<name>[^,}]*)")
_ANDROID_CPU = "0"
_ANDROID_STATUS = re.compile(r"Thermal Status: *(\d)\b")


def snapshot(executor: Executor, cores: Sequence[int]) -> State:
    """The state of the device now, for ``cores`` (empty: all). Raises DeviceError when the device is gone."""
    return parse_state(executor.run(["sh", "-c", STATE_SCRIPT], timeout=TIMEOUT_S).stdout, cores)


def parse_state(text: str, cores: Sequence[int]) -> State:
    """The state in the lines that STATE_SCRIPT prints; what is not there, or makes no sense, is None.

    The frequency is that of the slowest of ``cores``; different governors are joined by "+".
    """
    values = parse_values(text)
    khz = [value for value in map(number, _of_cores(values, "khz", cores)) if value]
    return State(
        governor="+".join(sorted(set(_of_cores(values, "governor", cores)))) or None,
        frequency_mhz=min(khz) / 1000 if khz else None,
        temperature_c=_temperature(values),
        thermal_status=_thermal_status(values),
        battery_percent=_battery(values),
        load_average=number((first(values, "load") or "").partition(" ")[0]),
    )


def _of_cores(values: Values, key: str, cores: Sequence[int]) -> Iterator[str]:
    wanted = {str(core) for core in cores}
    for text in values.get(key, ()):
        core, _, value = text.partition(" ")
        if value and (not wanted or core in wanted):
            yield value


def _temperature(values: Values) -> float | None:
    zones = [(name, _celsius(text)) for name, _, text in (zone.rpartition(":") for zone in values.get("zone", ()))]
    for pattern in (_PROCESSOR, _CHIP):
        found = [celsius for name, celsius in zones if pattern.search(name) and celsius is not None]
        if found:
            return max(found)
    return max(_android_temperatures(values), default=None)


def _android_temperatures(values: Values) -> Iterator[float]:
    """The processor's, of the section that the hardware answered just now; cached ones may be days old."""
    current = False
    for line in values.get("thermalservice", ()):
        if line.endswith(":"):
            current = line.startswith("Current temperatures")
        match = _ANDROID_ZONE.search(line)
        if current and match and match["type"] == _ANDROID_CPU:
            celsius = _in_range(number(match["value"]))
            if celsius is not None:
                yield celsius


def _celsius(text: str) -> float | None:
    """The kernel says millidegrees; some vendors' drivers tenths, or whole degrees."""
    value = number(text)
    if value is None:
        return None
    if abs(value) >= 1000:
        value /= 1000
    elif abs(value) > _TEMPERATURES_C[1]:
        value /= 10
    return _in_range(value)


def _in_range(celsius: float | None) -> float | None:
    low, high = _TEMPERATURES_C
    return celsius if celsius is not None and low < celsius < high else None


def _thermal_status(values: Values) -> int | None:
    matches = (_ANDROID_STATUS.search(line) for line in values.get("thermalservice", ()))
    return next((int(match[1]) for match in matches if match), None)


def _battery(values: Values) -> int | None:
    dumped = dict(line.partition(": ")[::2] for line in values.get("battery", ()))
    level, scale = number(dumped.get("level")), number(dumped.get("scale")) or 100
    percent = number(first(values, "capacity")) if level is None else 100 * level / scale
    return round(percent) if percent is not None and 0 <= percent <= 100 else None
