"""The CPUs that are emulated, by the name of ``--cpu``: one for each family of integer kernels.

All runtimes ask for the kernel's hardware capabilities, onnxruntime and XNNPACK also read ``/proc/cpuinfo``. What they
then execute was counted in qemu's log of an int8 ResNet-8 (ai-edge-litert 2.3, onnxruntime 1.31, MNN 3.6.1, qemu 7.2):

- ``cortex-a53``: NEON alone, products widened to 16 bits, in all three (Raspberry Pi 3 and 4, older phones).
- ``cortex-a76``: the dot product ``sdot`` in all three (Raspberry Pi 5, phones since 2018); it has half precision.
- ``i8mm``: the matrix product ``smmla`` in LiteRT and MNN, and mostly ``sdot`` in onnxruntime (phones since 2022,
  Graviton 3).
- ``haswell``: AVX2 without VNNI; u8 x s8 products are summed in pairs in 16 bits and saturate.
"""

from dataclasses import dataclass

from edgekit.errors import UsageError, nearest


@dataclass(frozen=True, slots=True)
class Cpu:
    """One CPU. ``models`` are qemu's words for it, of which the first that this qemu knows is taken.

    ``features`` and ``part`` are what ``/proc/cpuinfo`` says on ARM.
    """

    name: str
    machine: str
    models: tuple[str, ...]
    features: str = ""
    part: str = ""

    def cpuinfo(self) -> str:
        """The text of ``/proc/cpuinfo``: two cores of this CPU, made by ARM."""
        return "".join(_CORE.format(number=number, features=self.features, part=self.part) for number in range(2))


_CORE = """\
processor\t: {number}
model name\t: ARMv8 Processor rev 1 (v8l)
BogoMIPS\t: 100.00
Features\t: {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x1
CPU part\t: {part}
CPU revision\t: 1

"""

_ARMV8 = "fp asimd aes pmull sha1 sha2 crc32"
_ARMV82 = f"{_ARMV8} atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"

CPUS = {
    cpu.name: cpu
    for cpu in (
        Cpu("cortex-a53", "aarch64", ("cortex-a53",), f"{_ARMV8} cpuid", "0xd03"),
        Cpu("cortex-a76", "aarch64", ("cortex-a76",), _ARMV82, "0xd0b"),
        # qemu knows no CPU with i8mm but without SVE; the part is that of a Cortex-A710.
        Cpu("i8mm", "aarch64", ("max,sve=off,sme=off", "max,sve=off"), f"{_ARMV82} i8mm bf16", "0xd47"),
        Cpu("haswell", "x86_64", ("Haswell",)),
    )
}

MACHINES = ("aarch64", "x86_64")


def find_cpu(name: str) -> Cpu:
    """The CPU called ``name``. Raises UsageError."""
    if name not in CPUS:
        raise UsageError(f'--cpu "{name}": expected one of {", ".join(CPUS)}{nearest(name, CPUS)}')
    return CPUS[name]
