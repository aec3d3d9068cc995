from pathlib import Path

import pytest

from edgekit.emulation.emulator import find_qemu
from edgekit.emulation.sysroot import build_sysroot
from edgekit.errors import DependencyError


@pytest.fixture(scope="session")
def sysroot() -> Path:
    """The arm64 sysroot of this user's cache, built when it is not there (15 s and a download)."""
    try:
        find_qemu("aarch64")
        return build_sysroot()
    except DependencyError as error:
        pytest.skip(f"no arm64 emulation here: {error}")
