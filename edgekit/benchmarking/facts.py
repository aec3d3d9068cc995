"""What a device says of itself, read by one script in its shell: this machine, boards over ssh, phones over adb."""

import re
from collections.abc import Iterator

from edgekit.benchmarking.executors import DeviceFacts
from edgekit.benchmarking.shell import Run, Values, first, number, parse_values
from edgekit.errors import DeviceError

FACTS_SCRIPT = r"""
echo "machine=$(uname -m 2>/dev/null)"
echo "kernel=$(uname -srvm 2>/dev/null)"
echo "elf_class=$(od -An -tu1 -j4 -N1 /proc/self/exe 2>/dev/null)"
echo "dmi_model=$(cat /sys/class/dmi/id/product_name 2>/dev/null)"
echo "tree_model=$(cat /proc/device-tree/model 2>/dev/null)"
echo "tree_compatible=$( { tr '\0' ' ' < /proc/device-tree/compatible; } 2>/dev/null)"
echo "cpu_model=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | sed -n 1p)"
echo "cpu_hardware=$(sed -n 's/^Hardware[^:]*: *//p' /proc/cpuinfo 2>/dev/null | sed -n 1p)"
echo "os=$(sed -n 's/^PRETTY_NAME=//p' /etc/os-release 2>/dev/null)"
{ read -r online < /sys/devices/system/cpu/online; } 2>/dev/null
echo "online=$online"
echo "allowed=$(sed -n 's/^Cpus_allowed_list:[^0-9]*//p' /proc/self/status 2>/dev/null)"
for core in /sys/devices/system/cpu/cpu[0-9]*; do
  khz=
  { read -r khz < "$core/cpufreq/cpuinfo_max_freq"; } 2>/dev/null
  [ -n "$khz" ] && echo "maximum_khz=${core##*cpu} $khz"
  siblings=
  { read -r siblings < "$core/topology/thread_siblings_list"; } 2>/dev/null
  [ -n "$siblings" ] || { read -r siblings < "$core/topology/core_cpus_list"; } 2>/dev/null
  echo "siblings=$siblings"
done
if command -v getprop >/dev/null 2>&1; then
  for key in ro.product.manufacturer ro.product.model ro.product.cpu.abi ro.soc.manufacturer ro.soc.model \
    ro.board.platform ro.build.version.release ro.build.version.sdk ro.build.fingerprint; do
    echo "$key=$(getprop $key 2>/dev/null)"
  done
fi
echo "end=facts"
"""

_ABIS = {
    "aarch64": "arm64-v8a",
    "arm64": "arm64-v8a",
    "armv7l": "armeabi-v7a",
    "armv8l": "armeabi-v7a",
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "i386": "x86",
    "i486": "x86",
    "i586": "x86",
    "i686": "x86",
    "riscv64": "riscv64",
}
# A 32-bit userland on a 64-bit kernel (Raspberry Pi OS) runs 32-bit programs only.
_ABIS_OF_32_BITS = {"arm64-v8a": "armeabi-v7a", "x86_64": "x86"}
_ELF_32_BITS = "1"

# What firmware says when its maker filled in nothing.
_PLACEHOLDERS = frozenset(
    {"", "to be filled by o.e.m.", "system product name", "default string", "none", "not specified"}
)

MAXIMUM_CORES = 4096
"""More than any kernel numbers; a longer list is not one of cores."""


def read_facts(run: Run, name: str, kind: str) -> DeviceFacts:
    """Ask the device that ``run`` runs commands on. Raises DeviceError when its shell does not answer."""
    completed = run(["sh", "-c", FACTS_SCRIPT])
    values = parse_values(completed.stdout)
    if "facts" not in values.get("end", ()):
        words = " ".join((completed.stderr or completed.stdout).split())[-200:] or "no output"
        raise DeviceError(
            f"{name}: its sh ended with exit code {completed.exit_code} ({words}); expected a POSIX shell: "
            "log in by hand and run sh"
        )
    return parse_facts(values, name, kind)


def parse_facts(values: Values, name: str, kind: str) -> DeviceFacts:
    """The facts in the lines that FACTS_SCRIPT prints."""
    cores = usable_cores(values)
    maximum = dict(_maximum_mhz(values))
    return DeviceFacts(
        name=name,
        kind=kind,
        model=_model(values),
        soc=_soc(values),
        abi=_abi(values),
        os=_os(values),
        fingerprint=first(values, "ro.build.fingerprint") or first(values, "kernel"),
        cores=cores,
        maximum_mhz=tuple(maximum.get(core) for core in cores),
        siblings=_siblings(values),
    )


def usable_cores(values: Values) -> tuple[int, ...]:
    """The cores that are online and that this user may run on, ascending; those of one list when that is all."""
    online, allowed = (parse_cores(first(values, key) or "") for key in ("online", "allowed"))
    both = sorted(set(online) & set(allowed))
    return tuple(both) or online or allowed


def parse_cores(text: str) -> tuple[int, ...]:
    """The numbers in a list of the kernel, like ``0-3,6``; empty when it is none."""
    cores: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,4})(?:-([0-9]{1,4}))?\s*", part)
        if match is None:
            return ()
        low = int(match[1])
        high = int(match[2] or low)
        if not low <= high < MAXIMUM_CORES:
            return ()
        cores.update(range(low, high + 1))
    return tuple(sorted(cores))


def _maximum_mhz(values: Values) -> Iterator[tuple[int, float | None]]:
    for text in values.get("maximum_khz", ()):
        core, _, khz = text.partition(" ")
        frequency = number(khz)
        for each in parse_cores(core):
            yield each, frequency / 1000 if frequency else None


def _siblings(values: Values) -> tuple[tuple[int, ...], ...]:
    groups = {parse_cores(text) for text in values.get("siblings", ())}
    return tuple(sorted(group for group in groups if len(group) > 1))


def _model(values: Values) -> str | None:
    android = first(values, "ro.product.model")
    if android:
        return _with_maker(first(values, "ro.product.manufacturer"), android)
    return _said(first(values, "tree_model")) or _said(first(values, "dmi_model"))


def _soc(values: Values) -> str | None:
    android = first(values, "ro.soc.model")
    if android and android != "unknown":
        return _with_maker(first(values, "ro.soc.manufacturer"), android)
    platform = first(values, "ro.board.platform")
    # The last entry of the device tree's list is the most general one: the chip's.
    tree = (first(values, "tree_compatible") or "").split()
    return platform or next(reversed(tree), None) or first(values, "cpu_hardware") or first(values, "cpu_model")


def _abi(values: Values) -> str | None:
    android = first(values, "ro.product.cpu.abi")
    if android:
        return android
    machine = first(values, "machine")
    abi = _ABIS.get(machine or "", machine)
    if first(values, "elf_class") == _ELF_32_BITS:
        return _ABIS_OF_32_BITS.get(abi or "", abi)
    return abi


def _os(values: Values) -> str | None:
    release = first(values, "ro.build.version.release")
    if release:
        sdk = first(values, "ro.build.version.sdk")
        return f"Android {release} (API {sdk})" if sdk else f"Android {release}"
    name = (first(values, "os") or "").strip("\"'")
    return name or None


def _said(text: str | None) -> str | None:
    return None if text is None or text.lower() in _PLACEHOLDERS else text


def _with_maker(maker: str | None, model: str) -> str:
    if not maker or maker == "unknown" or model.lower().startswith(maker.lower()):
        return model
    return f"{maker} {model}"
