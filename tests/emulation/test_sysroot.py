import fcntl
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from edgekit.emulation import sysroot as module
from edgekit.emulation.emulator import find_qemu
from edgekit.emulation.sysroot import build_sysroot, find_python
from edgekit.errors import DependencyError


def test_it_has_the_runtimes_in_the_versions_of_here(sysroot: Path) -> None:
    script = (
        "from importlib import metadata as m; print(*(m.version(p) for p in ('ai-edge-litert', 'onnxruntime', 'MNN')))"
    )
    command = [find_qemu("aarch64"), "-cpu", "cortex-a53", "-L", str(sysroot), str(find_python(sysroot)), "-E", "-s"]
    done = subprocess.run([*command, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [metadata.version(p) for p in ("ai-edge-litert", "onnxruntime", "MNN")]


def test_a_second_call_finds_it_and_downloads_nothing(sysroot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    told: list[str] = []
    assert build_sysroot(announce=told.append) == sysroot
    assert told == []


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'E: Unable to locate package python3-minimal:arm64' >&2; exit 100", "Unable to locate package"),
        ("kill -9 $$", "apt-get failed"),
        ("exit 0", "have no arm64 packages"),
    ],
)
def test_an_apt_that_fails_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, told: str
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("apt-get", "dpkg-deb"):
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(DependencyError) as caught:
        build_sysroot()
    assert told in str(caught.value) and "--sysroot DIR" in str(caught.value) and "\n" not in str(caught.value)
    left = [path for path in (tmp_path / "cache").rglob("*") if path.suffix != ".lock" and path.is_dir()]
    assert [path.name for path in left] == ["edgekit", "sysroots"]


def test_a_missing_tool_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(DependencyError, match=r"needs apt-get .* --sysroot DIR"):
        build_sysroot()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(DependencyError, match="set XDG_CACHE_HOME"):
        build_sysroot()


def test_a_folder_without_python_is_no_sysroot(tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match="is no sysroot with a Python"):
        find_python(tmp_path)


@pytest.mark.slow
def test_two_at_once_build_one(sysroot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    script = "from edgekit.emulation.sysroot import build_sysroot; print(build_sysroot(announce=print))"
    both = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lines = [process.communicate(timeout=600)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert lines[0][-1] == lines[1][-1] == str(tmp_path / "edgekit/sysroots" / sysroot.name)
    told = [line for line in (*lines[0], *lines[1]) if line.startswith("downloading")]
    assert len(told) == 1 and "MB of Debian packages" in told[0] and "MB of wheels" in told[0]
    assert sorted(path.name for path in (tmp_path / "edgekit/sysroots").iterdir()) == [
        sysroot.name,
        f"{sysroot.name}.lock",
    ]


def test_whoever_waits_for_another_says_so_and_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(module, "_LOCK_TIMEOUT_S", 0.1)
    monkeypatch.setattr(module, "_require_tools", lambda: None)
    path = tmp_path / "edgekit/sysroots" / f"{module._key('aarch64')}.lock"
    path.parent.mkdir(parents=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    told: list[str] = []
    try:
        with pytest.raises(DependencyError, match=r"another edgekit has held this lock .*--sysroot DIR"):
            build_sysroot(announce=told.append)
    finally:
        os.close(descriptor)
    assert told == ["waiting for another edgekit, which is building the sysroot"]
