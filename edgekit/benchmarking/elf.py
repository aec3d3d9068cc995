"""For which processor a program or a library was built, read from its ELF header."""

import struct
from pathlib import Path

from edgekit.errors import DeviceError

_MAGIC = b"\x7fELF"
_LITTLE_ENDIAN = 1

HEADER_BYTES = 20
"""So much of a file tells."""

# e_machine of the ELF specification, with the class (1: 32 bits, 2: 64 bits).
_ABIS = {(183, 2): "arm64-v8a", (40, 1): "armeabi-v7a", (62, 2): "x86_64", (3, 1): "x86", (243, 2): "riscv64"}


def elf_abi(path: Path) -> str | None:
    """The ABI of ``path`` in Android's words, "another processor" for one without a name here; None: no ELF file."""
    with path.open("rb") as file:
        return header_abi(file.read(HEADER_BYTES))


def header_abi(header: bytes) -> str | None:
    """The ABI in the first HEADER_BYTES of a file; as for :func:`elf_abi`."""
    if len(header) < HEADER_BYTES or not header.startswith(_MAGIC):
        return None
    bits, order = header[4], header[5]
    (machine,) = struct.unpack_from("<H" if order == _LITTLE_ENDIAN else ">H", header, 18)
    return _ABIS.get((machine, bits), "another processor")


def require_abi(path: Path, abis: tuple[str, ...], device: str) -> None:
    """Raise DeviceError when ``path`` is a program that ``device``, which runs ``abis``, cannot run."""
    built_for = elf_abi(path)
    if built_for is not None and abis and built_for not in abis:
        raise DeviceError(
            f"{path}: built for {built_for}, but {device} runs {', '.join(abis)}; name a file for that in its profile"
        )
